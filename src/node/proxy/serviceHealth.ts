/**
 * The health checks that load balancers make on each node (pkg/proxy/healthcheck/service_health.go): on a Service's
 * healthCheckNodePort 200 while the node has ready endpoints of it and its proxy keeps up, otherwise 503. Each family has its own server, which knows
 * that family's endpoints (kubernetes#137370).
 */
import type { Server, ServerResponse } from "node:http";
import type { HealthCheck } from "../../proxy/index.js";
import { closeListener, listenInNetns, type NodeNetns, tryListen } from "./listener.js";

interface Checked {
  readonly server: Server;
  check: HealthCheck;
}

export class ServiceHealthServers {
  readonly #netns: NodeNetns;
  readonly #isHealthy: () => boolean;
  readonly #log: (level: "warn", message: string) => void;
  /** By family and port: no two Services have the same. */
  readonly #servers = new Map<string, Checked>();
  /** Those that could not be had; said once. */
  readonly #refused = new Set<string>();

  constructor(netns: NodeNetns, isHealthy: () => boolean, log: (level: "warn", message: string) => void) {
    this.#netns = netns;
    this.#isHealthy = isHealthy;
    this.#log = log;
  }

  /** Opens, keeps and closes servers so that these are the checks. What could not be opened is tried again. */
  sync(checks: readonly HealthCheck[]): void {
    const wanted = new Map(checks.map((check) => [keyOf(check), check]));
    for (const [key, { server }] of this.#servers) {
      if (wanted.has(key)) continue;
      this.#servers.delete(key);
      closeListener(server);
    }
    for (const check of wanted.values()) {
      const known = this.#servers.get(keyOf(check));
      if (known) known.check = check;
      else this.#open(check);
    }
  }

  close(): void {
    this.sync([]);
  }

  #open(check: HealthCheck): void {
    const { port, family, service } = check;
    const key = keyOf(check);
    const respond = (_request: unknown, response: ServerResponse) =>
      answer(response, this.#servers.get(key)?.check ?? check, this.#isHealthy());
    const open = () => listenInNetns(this.#netns, port, respond, family);
    const server = tryListen(open, (message) => {
      if (!this.#refused.has(key)) this.#log("warn", `health checks of Service ${service}: ${message}`);
      this.#refused.add(key);
    });
    if (!server) return;
    this.#refused.delete(key);
    this.#servers.set(key, { server, check });
  }
}

function keyOf({ family, port }: HealthCheck): string {
  return `${family} ${port}`;
}

/** Whatever the path and the method. */
function answer(response: ServerResponse, { service, localReady }: HealthCheck, isHealthy: boolean): void {
  const [namespace, name] = service.split("/");
  response.writeHead(localReady > 0 && isHealthy ? 200 : 503, {
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
    "X-Load-Balancing-Endpoint-Weight": String(localReady),
  });
  const body = { service: { namespace, name }, localEndpoints: localReady, serviceProxyHealthy: isHealthy };
  response.end(JSON.stringify(body, null, 2));
}
