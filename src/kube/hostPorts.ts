/** Host ports of pods, of which a node has each but once (kubernetes pkg/scheduler/framework/plugins/nodeports). */
import type { Pod } from "./objects.js";

/** One port on a node; `ip` 0.0.0.0 stands for all its addresses. */
interface HostPort {
  readonly protocol: string;
  readonly ip: string;
  readonly port: number;
}

const ANY = "0.0.0.0";

function hostPortsOf({ spec }: Pod): HostPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...sidecars, ...(spec?.containers ?? [])].flatMap(({ ports = [] }) =>
    ports.flatMap(({ protocol = "TCP", hostIP, hostPort }) =>
      hostPort ? [{ protocol, ip: hostIP || ANY, port: hostPort }] : [],
    ),
  );
}

export function hasHostPorts(pod: Pod): boolean {
  return hostPortsOf(pod).length > 0;
}

/** Whether the pod wants a port that one of the others has. */
export function conflictsWith(pod: Pod, others: readonly Pod[]): boolean {
  const wanted = hostPortsOf(pod);
  return (
    wanted.length > 0 && others.some((other) => hostPortsOf(other).some((port) => wanted.some(sameAs(port))))
  );
}

function sameAs(a: HostPort): (b: HostPort) => boolean {
  return (b) =>
    a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || a.ip === ANY || b.ip === ANY);
}
