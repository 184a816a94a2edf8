/**
 * The API as pods see it: `https://kubernetes.default.svc`, with a certificate of the lab's own CA, for the tokens of
 * service accounts. It listens on the machine's address in the node network, which there is once a node is up.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type ApiServer, apiServiceAddress } from "../kube/index.js";
import type { ClusterLog } from "./cluster.js";
import { CLUSTER_ZONE } from "./dns.js";
import type { LabPaths } from "./paths.js";
import { makeCertificates } from "./pki/certificates.js";
import type { LabRecord } from "./record.js";

/** kube-apiserver's. */
export const POD_API_PORT = 6443;
const RETRY_MS = 250;
/** Every minute, of what still stands in the way. */
const TELL_EVERY = 240;

/** Makes what nodes and pods need of it, once per lab. */
export function makeCredentials(paths: LabPaths, { plan }: LabRecord): void {
  // Written last: all of it is there, or all of it is made again.
  if (existsSync(paths.caCertificate)) return;
  const names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
  const { ca, server } = makeCertificates(
    plan.name,
    {
      dns: [...names, `kubernetes.default.svc.${CLUSTER_ZONE}`],
      ips: [apiServiceAddress(plan.network.services), plan.network.host],
    },
    Date.now(),
  );
  const mode = 0o600;
  writeFileSync(paths.apiKey, server.key, { mode });
  writeFileSync(paths.apiCertificate, server.certificate, { mode });
  writeFileSync(paths.accountKey, randomBytes(32).toString("hex"), { mode });
  writeFileSync(`${paths.caCertificate}.new`, ca, { mode });
  renameSync(`${paths.caCertificate}.new`, paths.caCertificate);
}

/** Listens as soon as that is possible; the returned function gives up. */
export function startPodApi(
  paths: LabPaths,
  { plan }: LabRecord,
  api: ApiServer,
  log: ClusterLog,
): () => void {
  const place = {
    host: plan.network.host,
    port: POD_API_PORT,
    tls: { key: readFileSync(paths.apiKey, "utf8"), cert: readFileSync(paths.apiCertificate, "utf8") },
    from: [plan.network.nodes, plan.network.pods.network],
  };
  const accountKey = readFileSync(paths.accountKey, "utf8");
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let tries = 0;
  const attempt = () => {
    api.listenForPods(place, accountKey).catch((error: Error) => {
      // The first tries are before the first node has given the machine its address.
      if (++tries % TELL_EVERY === 0) log("warn", `pods do not reach the API: ${error.message}`);
      if (!stopped) timer = setTimeout(attempt, RETRY_MS);
    });
  };
  attempt();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
