/** What etcdctl asks of Maintenance and Cluster: the status, and the one member that there is. */
import type { Server } from "@grpc/grpc-js";
import { type ServiceContext, serveUnary } from "./service.js";
import { ABOUT } from "./services.js";

/** The etcd whose API this is. */
const ETCD_VERSION = "3.4.0";

/**
 * The member's addresses are host:port alone. etcdctl puts what it finds here, scheme and all, into the :authority of its
 * requests, and Node's HTTP/2 refuses one with slashes; that also leaves Unix sockets out.
 */
const HOST_PORT = /^http:\/\/(.+)$/;

export function aboutService(server: Server, context: ServiceContext): void {
  const { memberId } = context.identity;

  serveUnary(server, context, ABOUT.status, () => {
    const header = context.header();
    return {
      header,
      version: ETCD_VERSION,
      dbSizeBytes: context.sizeBytes,
      dbSizeInUseBytes: context.sizeBytes,
      leader: memberId,
      raftIndex: header.revision,
      raftAppliedIndex: header.revision,
      raftTerm: header.raftTerm,
    };
  });

  serveUnary(server, context, ABOUT.memberList, () => {
    const clientUrls = context.endpoints().flatMap((endpoint) => HOST_PORT.exec(endpoint)?.[1] ?? []);
    return {
      header: context.header(),
      members: [{ id: memberId, name: "podwire", peerUrls: [], clientUrls }],
    };
  });
}
