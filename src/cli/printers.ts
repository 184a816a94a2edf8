/** Rows of `podwire get`, with kubectl's columns; those after `wide` show with -o wide only. */
import type {
  EndpointSlice,
  Endpoints,
  Event,
  KubeObject,
  Namespace,
  Node,
  Pod,
  ReplicationController,
  ResourceName,
  Service,
} from "../kube/index.js";
import { age, table } from "./table.js";

interface Columns<T> {
  readonly header: readonly string[];
  readonly wide: readonly string[];
  readonly row: (object: T) => readonly string[];
  readonly wideRow: (object: T) => readonly string[];
}

const NONE = "<none>";
const since = (time: string | undefined): string => (time ? age(Date.parse(time)) : "<unknown>");
const ageOf = (object: KubeObject): string => since(object.metadata?.creationTimestamp);
const nameOf = (object: KubeObject): string => object.metadata?.name ?? "";
const selectorText = (selector: Record<string, string> | undefined): string =>
  Object.entries(selector ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",") || NONE;

/** STATUS of a pod (kubernetes pkg/printers/internalversion/printers.go, printPod). */
export function podReason(pod: Pod): string {
  if (pod.metadata?.deletionTimestamp) return "Terminating";
  for (const container of pod.status?.containerStatuses ?? []) {
    const { waiting, terminated } = container.state ?? {};
    if (waiting?.reason) return waiting.reason;
    if (terminated) return terminated.reason ?? `ExitCode:${terminated.exitCode}`;
  }
  return pod.status?.phase ?? "Pending";
}

const pods: Columns<Pod> = {
  header: ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
  wide: ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"],
  row: (pod) => {
    const statuses = pod.status?.containerStatuses ?? [];
    const ready = statuses.filter((status) => status.ready).length;
    const restarts = statuses.reduce((sum, status) => sum + status.restartCount, 0);
    return [
      nameOf(pod),
      `${ready}/${pod.spec?.containers.length ?? 0}`,
      podReason(pod),
      String(restarts),
      ageOf(pod),
    ];
  },
  wideRow: (pod) => [pod.status?.podIP ?? NONE, pod.spec?.nodeName ?? NONE, NONE, NONE],
};

function externalIp(service: Service): string {
  const { type, externalName, externalIPs } = service.spec ?? {};
  if (type === "ExternalName") return externalName ?? NONE;
  const ingress = service.status?.loadBalancer?.ingress?.map((one) => one.ip ?? one.hostname ?? "") ?? [];
  const all = [...ingress, ...(externalIPs ?? [])];
  return all.join(",") || (type === "LoadBalancer" ? "<pending>" : NONE);
}

function servicePorts(service: Service): string {
  const ports = service.spec?.ports ?? [];
  return (
    ports
      .map((port) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol ?? "TCP"}`)
      .join(",") || NONE
  );
}

const services: Columns<Service> = {
  header: ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"],
  wide: ["SELECTOR"],
  row: (service) => [
    nameOf(service),
    service.spec?.type ?? "ClusterIP",
    service.spec?.clusterIP || NONE,
    externalIp(service),
    servicePorts(service),
    ageOf(service),
  ],
  wideRow: (service) => [selectorText(service.spec?.selector)],
};

const controllers: Columns<ReplicationController> = {
  header: ["NAME", "DESIRED", "CURRENT", "READY", "AGE"],
  wide: ["CONTAINERS", "IMAGES", "SELECTOR"],
  row: (rc) => [
    nameOf(rc),
    String(rc.spec?.replicas ?? 1),
    String(rc.status?.replicas ?? 0),
    String(rc.status?.readyReplicas ?? 0),
    ageOf(rc),
  ],
  wideRow: (rc) => {
    const containers = rc.spec?.template?.spec?.containers ?? [];
    const selector = rc.spec?.selector as
      | Record<string, string>
      | { matchLabels?: Record<string, string> }
      | undefined;
    const labels = selector && typeof selector.matchLabels === "object" ? selector.matchLabels : selector;
    return [
      containers.map((one) => one.name).join(","),
      containers.map((one) => one.image).join(","),
      selectorText(labels as Record<string, string> | undefined),
    ];
  },
};

const nodes: Columns<Node> = {
  header: ["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
  wide: ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"],
  row: (node) => {
    const ready = node.status?.conditions?.find((one) => one.type === "Ready")?.status;
    const status = ready === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady";
    const prefix = "node-role.kubernetes.io/";
    const roles = Object.keys(node.metadata?.labels ?? {}).filter((label) => label.startsWith(prefix));
    return [
      nameOf(node),
      node.spec?.unschedulable ? `${status},SchedulingDisabled` : status,
      roles.map((label) => label.slice(prefix.length)).join(",") || NONE,
      ageOf(node),
      node.status?.nodeInfo?.kubeletVersion ?? "",
    ];
  },
  wideRow: (node) => {
    const info = node.status?.nodeInfo;
    const ip = node.status?.addresses?.find((address) => address.type === "InternalIP")?.address;
    return [
      ip ?? NONE,
      NONE,
      info?.osImage ?? "",
      info?.kernelVersion ?? "",
      info?.containerRuntimeVersion ?? "",
    ];
  },
};

/** The first three, then how many more. */
function endpointList(items: readonly string[]): string {
  const more = items.length > 3 ? ` + ${items.length - 3} more...` : "";
  return items.length === 0 ? NONE : items.slice(0, 3).join(",") + more;
}

const endpoints: Columns<Endpoints> = {
  header: ["NAME", "ENDPOINTS", "AGE"],
  wide: [],
  row: (object) => {
    const items = (object.subsets ?? []).flatMap((subset) =>
      (subset.ports ?? []).flatMap((port) =>
        (subset.addresses ?? []).map((address) => `${address.ip}:${port.port}`),
      ),
    );
    return [nameOf(object), endpointList(items), ageOf(object)];
  },
  wideRow: () => [],
};

const endpointslices: Columns<EndpointSlice> = {
  header: ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"],
  wide: [],
  row: (slice) => {
    const ports = (slice.ports ?? []).map((port) => String(port.port)).join(",");
    const addresses = (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
    return [nameOf(slice), slice.addressType, ports || "<unset>", endpointList(addresses), ageOf(slice)];
  },
  wideRow: () => [],
};

const namespaces: Columns<Namespace> = {
  header: ["NAME", "STATUS", "AGE"],
  wide: [],
  row: (namespace) => [nameOf(namespace), namespace.status?.phase ?? "Active", ageOf(namespace)],
  wideRow: () => [],
};

const events: Columns<Event> = {
  header: ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
  wide: [],
  row: (event) => [
    since(event.lastTimestamp ?? event.metadata?.creationTimestamp),
    event.type ?? "",
    event.reason ?? "",
    `${(event.involvedObject.kind ?? "").toLowerCase()}/${event.involvedObject.name ?? ""}`,
    event.message ?? "",
  ],
  wideRow: () => [],
};

const COLUMNS = {
  pods,
  services,
  replicationcontrollers: controllers,
  replicasets: controllers,
  nodes,
  endpoints,
  endpointslices,
  namespaces,
  events,
} satisfies Record<ResourceName, unknown> as unknown as Record<ResourceName, Columns<KubeObject>>;

/** A whole table. With `namespaced`, a first column NAMESPACE. */
export function printTable(
  resource: ResourceName,
  objects: readonly KubeObject[],
  options: { readonly wide: boolean; readonly namespaced: boolean; readonly prefix?: string },
): string {
  const columns = COLUMNS[resource];
  const header = [
    ...(options.namespaced ? ["NAMESPACE"] : []),
    ...columns.header,
    ...(options.wide ? columns.wide : []),
  ];
  const rows = objects.map((object) => {
    const cells = [...columns.row(object)];
    if (options.prefix) cells[0] = `${options.prefix}/${cells[0]}`;
    return [
      ...(options.namespaced ? [object.metadata?.namespace ?? ""] : []),
      ...cells,
      ...(options.wide ? columns.wideRow(object) : []),
    ];
  });
  return table(header, rows);
}
