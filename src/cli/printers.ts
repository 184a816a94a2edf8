/** Tables of `podwire get`, with kubectl's columns (kubernetes pkg/printers/internalversion/printers.go). */
import type {
  EndpointSlice,
  Endpoints,
  Event,
  Ingress,
  IngressClass,
  IPAddress,
  KubeObject,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  ReplicaSet,
  ReplicationController,
  ResourceName,
  Service,
  ServiceCIDR,
} from "../kube/index.js";
import { age, table } from "./table.js";

/** Header, cell, and whether the column shows with -o wide only. */
type Column<T> = readonly [header: string, cell: (object: T) => string, wide?: "wide"];

const NONE = "<none>";
/** Endpoints that a table names before it counts the rest. */
const MAX_LISTED = 3;

const since = (time: string | undefined): string => (time ? age(Date.parse(time)) : "<unknown>");
const NAME: Column<KubeObject> = ["NAME", (object) => object.metadata?.name ?? ""];
const AGE: Column<KubeObject> = ["AGE", (object) => since(object.metadata?.creationTimestamp)];

/** Reason of the first container that has one, else the phase (printPod). */
function podStatus(pod: Pod): string {
  const { status } = pod;
  if (pod.metadata?.deletionTimestamp) return "Terminating";
  const containers = status?.containerStatuses ?? [];
  const reasons = containers.map(({ state }) => {
    if (state?.waiting) return state.waiting.reason;
    if (!state?.terminated) return undefined;
    const { reason, signal, exitCode } = state.terminated;
    return reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`);
  });
  const reason = reasons.find(Boolean);
  if (reason === "Completed" && containers.some((one) => one.ready && one.state?.running)) {
    const ready = status?.conditions?.find((one) => one.type === "Ready")?.status === "True";
    return ready ? "Running" : "NotReady";
  }
  return reason ?? (status?.reason || status?.phase || "Pending");
}

const pods: readonly Column<Pod>[] = [
  NAME,
  [
    "READY",
    ({ spec, status }) =>
      `${(status?.containerStatuses ?? []).filter((one) => one.ready).length}/${spec?.containers.length ?? 0}`,
  ],
  ["STATUS", podStatus],
  [
    "RESTARTS",
    ({ status }) =>
      String((status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0)),
  ],
  AGE,
  ["IP", ({ status }) => status?.podIP || NONE, "wide"],
  ["NODE", ({ spec }) => spec?.nodeName || NONE, "wide"],
  ["NOMINATED NODE", ({ status }) => status?.nominatedNodeName || NONE, "wide"],
  ["READINESS GATES", () => NONE, "wide"],
];

/** As `kubectl` writes selectors: terms in the order of their keys. */
function selectorText({ matchLabels, matchExpressions }: LabelSelector): string {
  const terms: [key: string, text: string][] = [
    ...Object.entries(matchLabels ?? {}).map(([key, value]): [string, string] => [key, `${key}=${value}`]),
    ...(matchExpressions ?? []).map(({ key, operator, values }): [string, string] => {
      if (operator === "Exists") return [key, key];
      if (operator === "DoesNotExist") return [key, `!${key}`];
      return [key, `${key} ${operator.toLowerCase()} (${[...(values ?? [])].sort().join(",")})`];
    }),
  ];
  terms.sort(([a], [b]) => (a < b ? -1 : 1));
  return terms.map(([, text]) => text).join(",") || NONE;
}

function externalIp({ spec, status }: Service): string {
  if (spec?.type === "ExternalName") return spec.externalName || NONE;
  const balanced = spec?.type === "LoadBalancer";
  const ingress = balanced ? (status?.loadBalancer?.ingress ?? []) : [];
  const all = [...ingress.map((one) => one.ip ?? one.hostname ?? ""), ...(spec?.externalIPs ?? [])];
  return all.join(",") || (balanced ? "<pending>" : NONE);
}

const services: readonly Column<Service>[] = [
  NAME,
  ["TYPE", ({ spec }) => spec?.type ?? "ClusterIP"],
  ["CLUSTER-IP", ({ spec }) => spec?.clusterIP || NONE],
  ["EXTERNAL-IP", externalIp],
  [
    "PORT(S)",
    ({ spec }) =>
      (spec?.ports ?? [])
        .map(
          ({ port, nodePort, protocol }) => `${port}${nodePort ? `:${nodePort}` : ""}/${protocol ?? "TCP"}`,
        )
        .join(",") || NONE,
  ],
  AGE,
  ["SELECTOR", ({ spec }) => selectorText({ matchLabels: spec?.selector ?? {} }), "wide"],
];

function controllers<T extends ReplicationController | ReplicaSet>(
  selector: (controller: T) => LabelSelector,
): readonly Column<T>[] {
  const containers = ({ spec }: T) => spec?.template?.spec?.containers ?? [];
  return [
    NAME,
    ["DESIRED", ({ spec }) => String(spec?.replicas ?? 1)],
    ["CURRENT", ({ status }) => String(status?.replicas ?? 0)],
    ["READY", ({ status }) => String(status?.readyReplicas ?? 0)],
    AGE,
    ["CONTAINERS", (one) => names(containers(one).map((container) => container.name)), "wide"],
    ["IMAGES", (one) => names(containers(one).map((container) => container.image)), "wide"],
    ["SELECTOR", (one) => selectorText(selector(one)), "wide"],
  ];
}

const names = (list: readonly (string | undefined)[]): string => list.join(",");

function nodeStatus({ spec, status }: Node): string {
  const ready = status?.conditions?.find((one) => one.type === "Ready")?.status;
  const text = ready === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady";
  return spec?.unschedulable ? `${text},SchedulingDisabled` : text;
}

const ROLE = "node-role.kubernetes.io/";

const nodes: readonly Column<Node>[] = [
  NAME,
  ["STATUS", nodeStatus],
  [
    "ROLES",
    ({ metadata }) => {
      const roles = Object.keys(metadata?.labels ?? {}).filter((label) => label.startsWith(ROLE));
      return names(roles.map((label) => label.slice(ROLE.length)).sort()) || NONE;
    },
  ],
  AGE,
  ["VERSION", ({ status }) => status?.nodeInfo?.kubeletVersion ?? ""],
  ["INTERNAL-IP", (node) => addressOf(node, "InternalIP"), "wide"],
  ["EXTERNAL-IP", (node) => addressOf(node, "ExternalIP"), "wide"],
  ["OS-IMAGE", ({ status }) => status?.nodeInfo?.osImage || "<unknown>", "wide"],
  ["KERNEL-VERSION", ({ status }) => status?.nodeInfo?.kernelVersion || "<unknown>", "wide"],
  ["CONTAINER-RUNTIME", ({ status }) => status?.nodeInfo?.containerRuntimeVersion || "<unknown>", "wide"],
];

function addressOf({ status }: Node, type: string): string {
  return status?.addresses?.find((address) => address.type === type)?.address ?? NONE;
}

/** The first three, then how many more. */
function listed(items: readonly string[], nothing: string): string {
  const more = items.length > MAX_LISTED ? ` + ${items.length - MAX_LISTED} more...` : "";
  return items.length === 0 ? nothing : `${items.slice(0, MAX_LISTED).join(",")}${more}`;
}

const endpoints: readonly Column<Endpoints>[] = [
  NAME,
  [
    "ENDPOINTS",
    ({ subsets }) => {
      const items = (subsets ?? []).flatMap(({ ports, addresses }) =>
        // A headless Service may have no ports.
        (ports?.length ? ports.map(({ port }) => `:${port}`) : [""]).flatMap((port) =>
          (addresses ?? []).map(({ ip }) => `${ip}${port}`),
        ),
      );
      return listed(items, NONE);
    },
  ],
  AGE,
];

const endpointslices: readonly Column<EndpointSlice>[] = [
  NAME,
  ["ADDRESSTYPE", ({ addressType }) => addressType],
  ["PORTS", ({ ports }) => listed(ports?.map(({ port }) => String(port ?? "*")) ?? [], "<unset>")],
  [
    "ENDPOINTS",
    (slice) =>
      listed(
        (slice.endpoints ?? []).flatMap(({ addresses }) => addresses),
        "<unset>",
      ),
  ],
  AGE,
];

const namespaces: readonly Column<Namespace>[] = [
  NAME,
  ["STATUS", ({ status }) => status?.phase ?? "Active"],
  AGE,
];

const events: readonly Column<Event>[] = [
  ["LAST SEEN", (event) => since(event.lastTimestamp ?? event.metadata?.creationTimestamp)],
  ["TYPE", ({ type }) => type ?? ""],
  ["REASON", ({ reason }) => reason ?? ""],
  ["OBJECT", ({ involvedObject: { kind, name } }) => `${(kind ?? "").toLowerCase()}/${name ?? ""}`],
  ["SUBOBJECT", ({ involvedObject }) => involvedObject.fieldPath ?? "", "wide"],
  ["SOURCE", ({ source }) => [source?.component, source?.host].filter(Boolean).join(", "), "wide"],
  ["MESSAGE", ({ message }) => (message ?? "").trim()],
  ["FIRST SEEN", (event) => since(event.firstTimestamp ?? event.metadata?.creationTimestamp), "wide"],
  ["COUNT", ({ count }) => String(count ?? 1), "wide"],
  ["NAME", NAME[1], "wide"],
];

const networkpolicies: readonly Column<NetworkPolicy>[] = [
  NAME,
  ["POD-SELECTOR", ({ spec }) => selectorText(spec?.podSelector ?? {})],
  AGE,
];

const ingresses: readonly Column<Ingress>[] = [
  NAME,
  ["CLASS", ({ spec }) => spec?.ingressClassName ?? NONE],
  [
    "HOSTS",
    ({ spec }) =>
      listed(
        (spec?.rules ?? []).flatMap(({ host }) => host ?? []),
        "*",
      ),
  ],
  [
    "ADDRESS",
    ({ status }) => names((status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname)),
  ],
  ["PORTS", ({ spec }) => (spec?.tls?.length ? "80, 443" : "80")],
  AGE,
];

const ingressclasses: readonly Column<IngressClass>[] = [
  NAME,
  ["CONTROLLER", ({ spec }) => spec?.controller ?? ""],
  [
    "PARAMETERS",
    ({ spec }) => {
      const { apiGroup, kind, name } = spec?.parameters ?? {};
      return kind ? `${kind}${apiGroup ? `.${apiGroup}` : ""}/${name}` : NONE;
    },
  ],
  AGE,
];

const servicecidrs: readonly Column<ServiceCIDR>[] = [
  NAME,
  ["CIDRS", ({ spec }) => names(spec?.cidrs ?? [])],
  AGE,
];

const ipaddresses: readonly Column<IPAddress>[] = [
  NAME,
  [
    "PARENTREF",
    ({ spec }) => {
      const { group, resource, namespace, name } = spec?.parentRef ?? {};
      return [`${resource}${group ? `.${group}` : ""}`, namespace, name].filter(Boolean).join("/");
    },
  ],
];

const COLUMNS = {
  pods,
  services,
  replicationcontrollers: controllers<ReplicationController>(({ spec }) => ({
    matchLabels: spec?.selector ?? {},
  })),
  replicasets: controllers<ReplicaSet>(({ spec }) => spec?.selector ?? {}),
  nodes,
  endpoints,
  endpointslices,
  namespaces,
  events,
  networkpolicies,
  ingresses,
  ingressclasses,
  servicecidrs,
  ipaddresses,
} satisfies Record<ResourceName, unknown> as unknown as Record<ResourceName, readonly Column<KubeObject>[]>;

export interface TableOptions {
  readonly wide?: boolean;
  /** A first column NAMESPACE. */
  readonly namespaced?: boolean;
  /** Put before names, as `pod` in `pod/web-1`. */
  readonly prefix?: string;
}

/** A whole table, the header in its first line. */
export function printTable(
  resource: ResourceName,
  objects: readonly KubeObject[],
  { wide = false, namespaced = false, prefix }: TableOptions,
): string {
  const columns = COLUMNS[resource].filter(([, , only]) => wide || only === undefined);
  const rows = objects.map((object) => [
    ...(namespaced ? [object.metadata?.namespace ?? ""] : []),
    ...columns.map(([header, cell]) =>
      header === "NAME" && prefix ? `${prefix}/${cell(object)}` : cell(object),
    ),
  ]);
  return table([...(namespaced ? ["NAMESPACE"] : []), ...columns.map(([header]) => header)], rows);
}
