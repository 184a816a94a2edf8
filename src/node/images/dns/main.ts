/**
 * The built-in image `podwire/dns`: cluster DNS, run in a pod as a program of its own behind the Service `kube-dns`.
 *
 * Theory of operation. Informers keep a catalog of Namespaces, Services and EndpointSlices (catalog.ts); there is no
 * zone file: the records of a name are made when it is asked for (records.ts). resolver.ts decides whom a question is
 * for: the cluster's zone and its addresses' reverse names are answered here, every other name by the upstream servers
 * (forward.ts). message.ts and server.ts are the wire and the sockets. The server answers from the start, SERVFAIL
 * until it knows the cluster; `/ready` tells the difference, and it keeps answering what it knows while the API is away.
 *
 * Environment:
 * - `PODWIRE_API`: the API server, `unix:/path` or `http://host:port`; `PODWIRE_API_TOKEN_FILE`: file of its token, if any
 * - `PODWIRE_DNS_ZONE`: the zone, `cluster.local` by default
 * - `PODWIRE_DNS_UPSTREAM`: name servers for all other names, such as `10.0.0.2,10.0.0.3:5353`; empty for none; when it
 *   is missing, those of /etc/resolv.conf, which is the machine's in a pod with dnsPolicy Default. Those that would be
 *   this server itself or its Service are left out.
 * - `PODWIRE_DNS_LISTEN`, `PODWIRE_DNS_READY`: `address:port` of DNS (0.0.0.0:53) and of `/ready` (0.0.0.0:8181)
 */
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import {
  type EndpointSlice,
  HttpKubeClient,
  Informer,
  type Namespace,
  type Service,
} from "../../../kube/index.js";
import { Catalog } from "./catalog.js";
import { Forwarder, nameservers, parseUpstreams, type Upstream } from "./forward.js";
import { isName } from "./names.js";
import { createResolver } from "./resolver.js";
import { type Place, startDnsServer, startReadyServer } from "./server.js";

const { env } = process;

function apiClient(): HttpKubeClient {
  const place = env.PODWIRE_API ?? "";
  const file = env.PODWIRE_API_TOKEN_FILE;
  const token = file ? { token: readFileSync(file, "utf8").trim() } : {};
  if (place.startsWith("unix:"))
    return new HttpKubeClient({ socketPath: place.slice("unix:".length), ...token });
  if (place.startsWith("http://")) return new HttpKubeClient({ baseUrl: place, ...token });
  throw new Error(`PODWIRE_API "${place}": give unix:/path or http://host:port of the API server`);
}

function zoneName(): string {
  const zone = (env.PODWIRE_DNS_ZONE || "cluster.local").toLowerCase().replace(/\.$/, "");
  if (!isName(zone)) throw new Error(`PODWIRE_DNS_ZONE "${zone}": give a domain name such as cluster.local`);
  return zone;
}

function placeIn(name: string, fallback: string): Place {
  const text = env[name] || fallback;
  const [, host = "", port = ""] = /^([\d.]+):(\d{1,5})$/.exec(text) ?? [];
  if (!isIPv4(host) || Number(port) > 65_535) throw new Error(`${name} "${text}": give address:port`);
  return { host, port: Number(port) };
}

/** Name servers of the machine that in here would be this server or its Service are nobody's help. */
function upstreams(listening: Place): Upstream[] {
  const given = env.PODWIRE_DNS_UPSTREAM;
  const all = given === undefined ? nameservers(readResolvConf()) : parseUpstreams(given);
  const ours = (address: string) =>
    /^(127\.|0\.0\.0\.0$|::1?$)/.test(address) || address === env.PODWIRE_POD_IP;
  return all.filter(
    ({ address, port }) =>
      !(port === listening.port && (ours(address) || address === listening.host)) &&
      address !== env.KUBE_DNS_SERVICE_HOST,
  );
}

function readResolvConf(): string {
  try {
    return readFileSync("/etc/resolv.conf", "utf8");
  } catch {
    return "";
  }
}

async function run(): Promise<void> {
  const zone = zoneName();
  const place = placeIn("PODWIRE_DNS_LISTEN", "0.0.0.0:53");
  const servers = upstreams(place);
  const client = apiClient();
  const catalog = new Catalog(Date.now);
  const informers = {
    namespaces: new Informer<Namespace>(client, "namespaces"),
    services: new Informer<Service>(client, "services"),
    endpointSlices: new Informer<EndpointSlice>(client, "endpointslices"),
  };
  let synced = false;
  const resolve = createResolver({
    view: catalog,
    zone,
    upstream: new Forwarder(servers),
    synced: () => synced,
    random: Math.random,
  });
  await startDnsServer(place, resolve);
  await startReadyServer(placeIn("PODWIRE_DNS_READY", "0.0.0.0:8181"), () => synced);
  informers.namespaces.start(catalog.namespaces);
  informers.services.start(catalog.services);
  informers.endpointSlices.start(catalog.endpointSlices);
  const others = servers.map(({ address, port }) => `${address}:${port}`).join(", ") || "nobody";
  console.log(`podwire/dns ${env.PODWIRE_POD ?? "?"} serves ${zone}, all other names are asked of ${others}`);
  await Promise.all(Object.values(informers).map((informer) => informer.synced));
  synced = true;
}

for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
run().catch((error: Error) => {
  console.error(`podwire/dns: ${error.message}`);
  process.exit(1);
});
