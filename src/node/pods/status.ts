/** A pod's status from what is known of its containers (kubelet status_manager.go, kubelet_pods.go). Pure. */
import type { Container, ContainerStatus, Pod, PodStatus } from "../../kube/index.js";

/** What the worker knows of one container. */
export interface ContainerView {
  readonly spec: Container;
  readonly state:
    | { readonly type: "waiting"; readonly reason: string; readonly message?: string }
    | { readonly type: "running"; readonly startedAtMs: number }
    | {
        readonly type: "terminated";
        readonly exitCode: number;
        readonly signal?: number;
        readonly startedAtMs: number;
        readonly finishedAtMs: number;
      };
  readonly lastState?: ContainerStatus["lastState"];
  readonly restartCount: number;
  readonly ready: boolean;
  /** Whether it has started: it runs, and its startup probe, if it has one, has succeeded. */
  readonly started: boolean;
}

export interface PodAddresses {
  readonly podIp?: string;
  readonly hostIp: string;
  /** The second addresses, of a node with IPv6. */
  readonly podIp6?: string;
  readonly hostIp6?: string;
}

/** Why a finished pod is not ready (status/generate.go). */
const FINISHED: Readonly<Record<string, object>> = {
  Succeeded: { reason: "PodCompleted" },
  Failed: { reason: "PodFailed" },
};

const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export function containerState(view: ContainerView): NonNullable<ContainerStatus["state"]> {
  const state = view.state;
  if (state.type === "running") return { running: { startedAt: time(state.startedAtMs) } };
  if (state.type === "waiting") {
    return { waiting: { reason: state.reason, ...(state.message ? { message: state.message } : {}) } };
  }
  return {
    terminated: {
      exitCode: state.exitCode,
      reason: state.exitCode === 0 ? "Completed" : "Error",
      ...(state.signal === undefined ? {} : { signal: state.signal }),
      startedAt: time(state.startedAtMs),
      finishedAt: time(state.finishedAtMs),
    },
  };
}

/** kubelet_pods.go, getPhase: a container that waits between two runs counts as stopped, not as waiting. */
function phase(views: readonly ContainerView[], restartPolicy: string): string {
  const is = (type: ContainerView["state"]["type"]) => views.some((view) => view.state.type === type);
  if (views.some((view) => view.state.type === "waiting" && !view.lastState?.terminated)) return "Pending";
  if (is("running") || restartPolicy === "Always") return "Running";
  const succeeded = views.every((view) => view.state.type === "terminated" && view.state.exitCode === 0);
  if (succeeded) return "Succeeded";
  return restartPolicy === "Never" ? "Failed" : "Running";
}

export function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === "Always";
}

/** Whether what comes after this init container may start. */
export function isInitialised({ spec, state, started }: ContainerView): boolean {
  return isSidecar(spec) ? started : state.type === "terminated" && state.exitCode === 0;
}

/** While init containers work the pod is pending; one that fails for good fails it. */
function initPhase(inits: readonly ContainerView[], restartPolicy: string): string | undefined {
  if (inits.every(isInitialised)) return undefined;
  const failed = inits.some(
    ({ spec, state }) => !isSidecar(spec) && state.type === "terminated" && state.exitCode !== 0,
  );
  return failed && restartPolicy === "Never" ? "Failed" : "Pending";
}

/** The whole status; `previous` supplies the times of conditions that did not change. */
export function podStatus(
  pod: Pod,
  views: readonly ContainerView[],
  addresses: PodAddresses,
  nowMs: number,
  inits: readonly ContainerView[] = [],
): PodStatus {
  const previous = pod.status;
  const restartPolicy = pod.spec?.restartPolicy ?? "Always";
  const now = initPhase(inits, restartPolicy) ?? phase(views, restartPolicy);
  const sidecars = inits.filter(({ spec }) => isSidecar(spec));
  const unready = [...sidecars, ...views].filter((view) => !view.ready);
  const incomplete = inits.filter((view) => !isInitialised(view)).map((view) => view.spec.name);
  const ready = unready.length === 0 && now === "Running";
  const names = unready.map((view) => view.spec.name).join(" ");
  const why = FINISHED[now] ?? {
    reason: "ContainersNotReady",
    message: `containers with unready status: [${names}]`,
  };
  const condition = (type: string, holds: boolean, detail: object = {}) => {
    const before = previous?.conditions?.find((candidate) => candidate.type === type);
    const status = holds ? "True" : "False";
    const changed = before?.status !== status;
    const since = changed ? time(nowMs) : (before?.lastTransitionTime ?? time(nowMs));
    return { type, status, lastTransitionTime: since, ...(holds ? {} : detail) } as NonNullable<
      PodStatus["conditions"]
    >[number];
  };
  return {
    phase: now as NonNullable<PodStatus["phase"]>,
    conditions: [
      condition("Initialized", incomplete.length === 0, {
        reason: "ContainersNotInitialized",
        message: `containers with incomplete status: [${incomplete.join(" ")}]`,
      }),
      condition("Ready", ready, why),
      condition("ContainersReady", ready, why),
      condition("PodScheduled", true),
    ],
    hostIP: addresses.hostIp,
    hostIPs: ips(addresses.hostIp, addresses.hostIp6),
    ...(addresses.podIp ? { podIP: addresses.podIp, podIPs: ips(addresses.podIp, addresses.podIp6) } : {}),
    startTime: previous?.startTime ?? time(nowMs),
    ...(inits.length > 0 ? { initContainerStatuses: inits.map((view) => containerStatus(view)) } : {}),
    containerStatuses: views.map((view) => containerStatus(view)),
    qosClass: "BestEffort",
  };
}

function ips(...addresses: (string | undefined)[]): { ip: string }[] {
  return addresses.flatMap((ip) => (ip === undefined ? [] : [{ ip }]));
}

function containerStatus(view: ContainerView): ContainerStatus {
  return {
    name: view.spec.name,
    image: view.spec.image ?? "",
    imageID: "",
    ready: view.ready,
    started: view.started,
    restartCount: view.restartCount,
    state: containerState(view),
    lastState: view.lastState ?? {},
  };
}
