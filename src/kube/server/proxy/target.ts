/**
 * What `/proxy` leads to: a pod's address, or that of a ready pod behind a Service (kubernetes
 * pkg/registry/core/pod/strategy.go and pkg/registry/core/service/storage/storage.go, ResourceLocation).
 */
import { nonSpecialIp, portName, portNumber } from "../../names.js";
import type { Endpoints, Pod, Service } from "../../objects.js";
import type { Registry } from "../../registry/registry.js";
import { badRequest, failure } from "../../status.js";

export interface ProxyTarget {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
}

export interface ProxyPlace {
  readonly resource: "pods" | "services";
  readonly namespace: string;
  /** As in the path: `name`, `name:port` or `scheme:name:port`. */
  readonly id: string;
}

const DEFAULT_PORTS = { http: 80, https: 443 } as const;

interface Id {
  readonly scheme: ProxyTarget["scheme"];
  readonly name: string;
  readonly port: string;
}

/** @throws StatusError (400, 404, 503) */
export function proxyTarget(registry: Registry, place: ProxyPlace): Promise<ProxyTarget> {
  return place.resource === "pods" ? podTarget(registry, place) : serviceTarget(registry, place);
}

/** The parts of the id; undefined when it is none (apimachinery pkg/util/net, SplitSchemeNamePort). */
function parseId(id: string): Id | undefined {
  const parts = id.split(":");
  const [scheme, name = "", port = ""] = parts.length === 3 ? parts : ["", ...parts];
  const isPort = port === "" || portName(port).length === 0 || portNumber(Number(port)).length === 0;
  if (parts.length > 3 || name === "" || !isPort) return undefined;
  if (scheme !== "" && scheme !== "http" && scheme !== "https") return undefined;
  return { scheme: scheme || "http", name, port };
}

async function podTarget(registry: Registry, { namespace, id }: ProxyPlace): Promise<ProxyTarget> {
  const parsed = parseId(id);
  if (!parsed) throw badRequest(`invalid pod request ${JSON.stringify(id)}`);
  const { scheme, name, port } = parsed;
  const { spec, status } = (await registry.get({ resource: "pods", namespace, name })) as Pod;
  const ports = (spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  const number = port === "" ? ports[0]?.containerPort : numberOf(port, ports);
  if (port !== "" && number === undefined) throw badRequest(`invalid pod request ${JSON.stringify(id)}`);
  const host = status?.podIP ?? "";
  if (host === "" || nonSpecialIp(host).length > 0) throw badRequest("address not allowed");
  return { scheme, host, port: number ?? DEFAULT_PORTS[scheme] };
}

function numberOf(
  port: string,
  ports: readonly { readonly name?: string; readonly containerPort: number }[],
): number | undefined {
  return /^\d+$/.test(port) ? Number(port) : ports.find(({ name }) => name === port)?.containerPort;
}

async function serviceTarget(registry: Registry, { namespace, id }: ProxyPlace): Promise<ProxyTarget> {
  const parsed = parseId(id);
  if (!parsed) throw badRequest(`invalid service request ${JSON.stringify(id)}`);
  const { scheme, name, port } = parsed;
  const service = (await registry.get({ resource: "services", namespace, name })) as Service;
  const wanted = /^\d+$/.test(port) ? nameOfPort(service, Number(port)) : port;
  const endpoints = (await registry.get({ resource: "endpoints", namespace, name })) as Endpoints;
  const choices = (endpoints.subsets ?? []).flatMap(({ addresses = [], ports = [] }) => {
    const match = ports.find((one) => (one.name ?? "") === wanted);
    // Only pods: an address that somebody has written by hand may be anything that this machine can reach.
    const pods = addresses.filter(({ targetRef }) => targetRef?.kind === "Pod");
    return match ? pods.map(({ ip }) => ({ host: ip, port: match.port })) : [];
  });
  const usable = await existing(registry, namespace, endpoints, choices);
  const chosen = usable[Math.floor(Math.random() * usable.length)];
  if (!chosen) throw unavailable(`no endpoints available for service ${JSON.stringify(id)}`);
  return { scheme, ...chosen };
}

/** Those whose pods are there and have that very address, whatever somebody has written into the Endpoints. */
async function existing<T extends { readonly host: string }>(
  registry: Registry,
  namespace: string,
  endpoints: Endpoints,
  choices: readonly T[],
): Promise<T[]> {
  if (choices.length === 0) return [];
  const { items } = await registry.list("pods", { namespace });
  const addresses = new Map(items.map((pod) => [pod.metadata.name, (pod as Pod).status?.podIPs]));
  const real = new Set(
    (endpoints.subsets ?? []).flatMap(({ addresses: all = [] }) =>
      all.flatMap(({ ip, targetRef }) =>
        addresses.get(targetRef?.name ?? "")?.some((one) => one.ip === ip) ? [ip] : [],
      ),
    ),
  );
  return choices.filter(({ host }) => real.has(host) && nonSpecialIp(host).length === 0);
}

function nameOfPort({ metadata, spec }: Service, number: number): string {
  const port = spec?.ports?.find((one) => one.port === number);
  if (port) return port.name ?? "";
  throw unavailable(`no service port ${number} found for service ${JSON.stringify(metadata?.name)}`);
}

export function unavailable(message: string): Error {
  return failure(503, "ServiceUnavailable", message);
}
