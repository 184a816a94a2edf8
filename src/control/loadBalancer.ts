/**
 * Load balancers: gives each Service of that type an address of the pool for each of its families, as a cloud's service
 * controller does (kubernetes staging/src/k8s.io/cloud-provider/controllers/service). The nodes' proxies carry the
 * traffic, so the address is all that a load balancer is here.
 */
import { isDeepStrictEqual } from "node:util";
import type { Service } from "../kube/index.js";
import { AddressPool } from "./addressPool.js";
import { keyOf, splitKey } from "./cache.js";
import { type Context, type Controller, newQueue, tell } from "./context.js";
import { serviceFamilies } from "./families.js";
import { found, unlessGone } from "./queue.js";

/** Keeps a Service until its address is given back. */
const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
/** Addresses that the Service asks for, with commas between; `loadBalancerIP` can name one only. */
const ADDRESSES_ANNOTATION = "podwire.dev/load-balancer-ips";
const COMPONENT = "service-controller";

type Ingress = NonNullable<NonNullable<NonNullable<Service["status"]>["loadBalancer"]>["ingress"]>[number];

/** @throws Error for a pool that is no list of CIDRs */
export function startLoadBalancers(context: Context, cidrs: readonly string[]): Controller {
  const { client, caches } = context;
  const pool = new AddressPool(cidrs);
  /** By Service; known here before the cache shows it. */
  const assigned = new Map<string, readonly string[]>();
  /** Services that wait for an address, and what they were told. */
  const waiting = new Map<string, string>();
  const queue = newQueue(context, "load-balancers", reconcile);

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = splitKey(key);
    const service = await found(client.get<Service>("services", namespace, name));
    if (service && wantsAddress(service)) await ensure(key, service);
    else await release(key, service);
  }

  async function ensure(key: string, service: Service): Promise<void> {
    const choice = choose(key, service);
    if (typeof choice === "string") {
      fail(key, service, choice);
      return;
    }
    waiting.delete(key);
    assigned.set(key, choice);
    const finalizers = service.metadata?.finalizers ?? [];
    const isNew = !finalizers.includes(FINALIZER);
    if (isNew) say(service, "EnsuringLoadBalancer", "Ensuring load balancer");
    const kept = isNew ? await setFinalizers(service, [...finalizers, FINALIZER]) : service;
    const ingress = choice.map((ip): Ingress => ({ ip, ipMode: "VIP" }));
    if (isDeepStrictEqual(service.status?.loadBalancer?.ingress, ingress)) return;
    await client.update<Service>(
      "services",
      { ...kept, status: { ...kept.status, loadBalancer: { ingress } } },
      "status",
    );
    say(service, "EnsuredLoadBalancer", "Ensured load balancer");
  }

  async function release(key: string, service: Service | undefined): Promise<void> {
    waiting.delete(key);
    const finalizers = service?.metadata?.finalizers ?? [];
    if (service && finalizers.includes(FINALIZER)) {
      say(service, "DeletingLoadBalancer", "Deleting load balancer");
      const bare = { ...service, status: { ...service.status, loadBalancer: {} } };
      const cleared = service.status?.loadBalancer?.ingress
        ? await found(client.update<Service>("services", bare, "status"))
        : service;
      const left = finalizers.filter((one) => one !== FINALIZER);
      if (cleared) await unlessGone(setFinalizers(cleared, left));
      say(service, "DeletedLoadBalancer", "Deleted load balancer");
    }
    if (!assigned.delete(key)) return;
    for (const other of waiting.keys()) queue.add(other);
  }

  function setFinalizers(service: Service, finalizers: string[]): Promise<Service> {
    return client.update<Service>("services", { ...service, metadata: { ...service.metadata, finalizers } });
  }

  /** Addresses for the Service, or why it can have none. What it has it keeps, as long as it may. */
  function choose(key: string, service: Service): readonly string[] | string {
    const taken = takenByOthers(key);
    const asked = askedAddresses(service);
    for (const ip of asked) {
      if (!pool.has(ip)) return `the address ${ip} is not in the pool ${cidrs.join(", ")}`;
      if (taken.has(ip)) return `the address ${ip} is already in use`;
    }
    const present = service.status?.loadBalancer?.ingress?.flatMap(({ ip }) => ip ?? []) ?? [];
    const candidates = asked.length > 0 ? asked : [...(assigned.get(key) ?? []), ...present];
    const usable = candidates.filter((ip) => pool.has(ip) && !taken.has(ip));
    const families = serviceFamilies(service);
    const chosen = families.flatMap((family) => {
      const own = usable.find((ip) => ip.includes(":") === (family === "IPv6"));
      return own ?? pool.free(family, (ip) => taken.has(ip)) ?? [];
    });
    return chosen.length > 0
      ? chosen
      : `no ${families.join(" or ")} address of the pool ${cidrs.join(", ")} is free`;
  }

  function takenByOthers(key: string): ReadonlySet<string> {
    const taken = new Set<string>();
    for (const service of caches.services.items()) {
      const own = keyOf(service);
      if (own === key || assigned.has(own)) continue;
      for (const { ip } of service.status?.loadBalancer?.ingress ?? []) if (ip) taken.add(ip);
    }
    for (const [other, ips] of assigned) if (other !== key) for (const ip of ips) taken.add(ip);
    return taken;
  }

  function fail(key: string, service: Service, why: string): void {
    if (waiting.get(key) === why) return;
    waiting.set(key, why);
    const message = `Error syncing load balancer: failed to ensure load balancer: ${why}`;
    tell(context, COMPONENT, service, { type: "Warning", reason: "SyncLoadBalancerFailed", message });
  }

  function say(service: Service, reason: string, message: string): void {
    tell(context, COMPONENT, service, { type: "Normal", reason, message });
  }

  caches.services.subscribe(({ now, before }) => {
    const concerns = [now, before].some((one) => one && (wantsAddress(one) || hasFinalizer(one)));
    if (concerns) queue.add(keyOf((now ?? before)!));
  });
  return queue;
}

/** A Service with a class of its own is left to whoever that names. */
function wantsAddress({ metadata, spec }: Service): boolean {
  return spec?.type === "LoadBalancer" && !spec.loadBalancerClass && !metadata?.deletionTimestamp;
}

function hasFinalizer({ metadata }: Service): boolean {
  return metadata?.finalizers?.includes(FINALIZER) ?? false;
}

function askedAddresses({ metadata, spec }: Service): string[] {
  const annotation = metadata?.annotations?.[ADDRESSES_ANNOTATION] ?? spec?.loadBalancerIP ?? "";
  return annotation
    .split(",")
    .map((ip) => ip.trim())
    .filter((ip) => ip !== "");
}
