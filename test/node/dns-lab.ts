/** Cluster objects, a resolver over them, and upstream servers on loopback for the tests of cluster DNS. */
import { createSocket } from "node:dgram";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type Answer, type DecodedPacket, decode, encode, type RecordType } from "dns-packet";
import type { Endpoint, EndpointSlice, Service } from "../../src/kube/index.js";
import { Catalog } from "../../src/node/images/dns/catalog.js";
import { Forwarder, framed, type Upstream } from "../../src/node/images/dns/forward.js";
import type { Transport } from "../../src/node/images/dns/message.js";
import { createResolver, type Resolve } from "../../src/node/images/dns/resolver.js";

export const NOW_SECONDS = 1_700_000_000;

type Spec = NonNullable<Service["spec"]>;

export const service = (name: string, spec: Spec, namespace = "default"): Service => ({
  metadata: { name, namespace },
  spec,
});

export const slice = (
  serviceName: string,
  endpoints: Endpoint[],
  ports: EndpointSlice["ports"] = [{ name: "http", port: 8080, protocol: "TCP" }],
  name = `${serviceName}-x`,
): EndpointSlice => ({
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": serviceName } },
  addressType: "IPv4",
  endpoints,
  ports,
});

export function catalogOf(objects: {
  services?: readonly Service[];
  slices?: readonly EndpointSlice[];
  namespaces?: readonly string[];
}): Catalog {
  const catalog = new Catalog(() => NOW_SECONDS * 1000);
  for (const name of objects.namespaces ?? ["default", "kube-system"])
    catalog.namespaces.onAdd?.({ metadata: { name } });
  for (const one of objects.services ?? []) catalog.services.onAdd?.(one);
  for (const one of objects.slices ?? []) catalog.endpointSlices.onAdd?.(one);
  return catalog;
}

export function resolverOf(catalog: Catalog, upstreams: readonly Upstream[] = [], synced = true): Resolve {
  return createResolver({
    view: catalog,
    zone: "cluster.local",
    upstream: new Forwarder(upstreams, { attemptMs: 200, budgetMs: 1000 }),
    synced: () => synced,
    random: () => 0.999,
  });
}

export interface Asked {
  readonly type?: string;
  readonly transport?: Transport;
  readonly ednsBytes?: number;
}

export function queryOf(name: string, { type = "A", ednsBytes }: Asked = {}): Buffer {
  const opt: Answer = {
    type: "OPT",
    name: ".",
    udpPayloadSize: ednsBytes ?? 0,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  return encode({
    type: "query",
    id: 4711,
    flags: 0x100,
    questions: [{ name, type: type as RecordType }],
    additionals: ednsBytes === undefined ? [] : [opt],
  });
}

export interface Told extends DecodedPacket {
  readonly rcode: string;
  /** `NAME TYPE DATA` of each answer, in their order. */
  readonly lines: readonly string[];
}

export function told(reply: Buffer): Told {
  const packet = decode(reply) as DecodedPacket & { rcode: string };
  return { ...packet, lines: (packet.answers ?? []).map(lineOf) };
}

function lineOf(record: Answer): string {
  if (record.type === "OPT") return "OPT";
  if (record.type === "SRV") {
    const { priority, weight, port, target } = record.data;
    return `${record.name} SRV ${priority} ${weight} ${port} ${target}`;
  }
  return `${record.name} ${record.type} ${String(record.data)}`;
}

export async function ask(resolve: Resolve, name: string, asked: Asked = {}): Promise<Told> {
  const reply = await resolve(queryOf(name, asked), asked.transport ?? "udp");
  if (!reply) throw new Error(`no reply about ${name}`);
  return told(reply);
}

export interface FakeUpstream extends Upstream {
  /** `TRANSPORT NAME TYPE` of each query that arrived. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** A name server on loopback that answers with what `answer` makes of a query; nothing when that is undefined. */
export async function startUpstream(
  answer: (query: DecodedPacket, bytes: Buffer) => Buffer | undefined,
): Promise<FakeUpstream> {
  const asked: string[] = [];
  const take = (transport: Transport, bytes: Buffer) => {
    const query = decode(bytes);
    asked.push(`${transport} ${query.questions?.[0]?.name} ${query.questions?.[0]?.type}`);
    return answer(query, bytes);
  };
  const connections = new Set<Socket>();
  const tcp = createServer((socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const reply = take("tcp", chunk.subarray(2));
      if (reply) socket.write(framed(reply));
    });
  });
  await new Promise<void>((listening) => tcp.listen(0, "127.0.0.1", listening));
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket("udp4");
  udp.on("message", (message, from) => {
    const reply = take("udp", message);
    if (reply) udp.send(reply, from.port, from.address);
  });
  await new Promise<void>((bound) => udp.bind(port, "127.0.0.1", bound));
  return {
    address: "127.0.0.1",
    port,
    asked,
    close: async () => {
      for (const socket of connections) socket.destroy();
      await new Promise<void>((closed) => tcp.close(() => udp.close(closed)));
    },
  };
}

/** An answer with these records to a query. */
export function answerTo(query: DecodedPacket, answers: Answer[], flags = 0): Buffer {
  const { id, questions } = query;
  return encode({ type: "response", id, flags: 0x180 | flags, questions, answers });
}
