/** Schemas of namespaces, nodes, services, endpoints, events, and of what keeps replicas. */
import {
  any,
  boolean,
  int32,
  int64,
  intOrString,
  keyedList,
  list,
  string,
  stringMap,
  stringSet,
  strings,
  struct,
  time,
} from "../schema.js";
import { LABEL_SELECTOR, OBJECT_REFERENCE, objectSchema, quantities } from "./meta.js";
import { CONDITION, POD_TEMPLATE } from "./pod.js";

export const NAMESPACE = objectSchema("Namespace", {
  spec: struct("NamespaceSpec", { finalizers: strings }),
  status: struct("NamespaceStatus", { phase: string, conditions: keyedList("type", CONDITION) }),
});

const TAINT = struct("Taint", { key: string, value: string, effect: string, timeAdded: time });

const NODE_INFO_FIELDS = [
  "machineID",
  "systemUUID",
  "bootID",
  "kernelVersion",
  "osImage",
  "containerRuntimeVersion",
  "kubeletVersion",
  "kubeProxyVersion",
  "operatingSystem",
  "architecture",
];

export const NODE = objectSchema("Node", {
  spec: struct("NodeSpec", {
    podCIDR: string,
    podCIDRs: stringSet,
    providerID: string,
    unschedulable: boolean,
    taints: list(TAINT),
    configSource: any,
    externalID: string,
  }),
  status: struct("NodeStatus", {
    capacity: quantities,
    allocatable: quantities,
    phase: string,
    conditions: keyedList("type", CONDITION),
    addresses: keyedList("type", struct("NodeAddress", { type: string, address: string })),
    daemonEndpoints: any,
    nodeInfo: struct("NodeSystemInfo", Object.fromEntries(NODE_INFO_FIELDS.map((name) => [name, string]))),
    images: any,
    volumesInUse: any,
    volumesAttached: any,
    config: any,
    runtimeHandlers: any,
    features: any,
  }),
});

const SERVICE_PORT = struct("ServicePort", {
  name: string,
  protocol: string,
  appProtocol: string,
  port: int32,
  targetPort: intOrString,
  nodePort: int32,
});

const SERVICE_SPEC = struct("ServiceSpec", {
  ports: keyedList("port", SERVICE_PORT),
  selector: stringMap,
  clusterIP: string,
  clusterIPs: strings,
  type: string,
  externalIPs: strings,
  sessionAffinity: string,
  loadBalancerIP: string,
  loadBalancerSourceRanges: strings,
  externalName: string,
  externalTrafficPolicy: string,
  healthCheckNodePort: int32,
  publishNotReadyAddresses: boolean,
  sessionAffinityConfig: struct("SessionAffinityConfig", {
    clientIP: struct("ClientIPConfig", { timeoutSeconds: int32 }),
  }),
  ipFamilies: strings,
  ipFamilyPolicy: string,
  allocateLoadBalancerNodePorts: boolean,
  loadBalancerClass: string,
  internalTrafficPolicy: string,
  trafficDistribution: string,
});

const LOAD_BALANCER_INGRESS = struct("LoadBalancerIngress", {
  ip: string,
  hostname: string,
  ipMode: string,
  ports: list(struct("PortStatus", { port: int32, protocol: string, error: string })),
});

export const SERVICE = objectSchema("Service", {
  spec: SERVICE_SPEC,
  status: struct("ServiceStatus", {
    loadBalancer: struct("LoadBalancerStatus", { ingress: list(LOAD_BALANCER_INGRESS) }),
    conditions: keyedList("type", CONDITION),
  }),
});

const ENDPOINT_ADDRESS = struct("EndpointAddress", {
  ip: string,
  hostname: string,
  nodeName: string,
  targetRef: OBJECT_REFERENCE,
});

/** The same fields in core/v1 and discovery/v1. */
const ENDPOINT_PORT = struct("EndpointPort", {
  name: string,
  port: int32,
  protocol: string,
  appProtocol: string,
});

export const ENDPOINTS = objectSchema("Endpoints", {
  subsets: list(
    struct("EndpointSubset", {
      addresses: list(ENDPOINT_ADDRESS),
      notReadyAddresses: list(ENDPOINT_ADDRESS),
      ports: list(ENDPOINT_PORT),
    }),
  ),
});

const ENDPOINT = struct("Endpoint", {
  addresses: strings,
  conditions: struct("EndpointConditions", { ready: boolean, serving: boolean, terminating: boolean }),
  hostname: string,
  targetRef: OBJECT_REFERENCE,
  deprecatedTopology: stringMap,
  nodeName: string,
  zone: string,
  hints: struct("EndpointHints", {
    forZones: list(struct("ForZone", { name: string })),
    forNodes: list(struct("ForNode", { name: string })),
  }),
});

export const ENDPOINT_SLICE = objectSchema("EndpointSlice", {
  addressType: string,
  endpoints: list(ENDPOINT),
  ports: list(ENDPOINT_PORT),
});

export const EVENT = objectSchema("Event", {
  involvedObject: OBJECT_REFERENCE,
  reason: string,
  message: string,
  source: struct("EventSource", { component: string, host: string }),
  firstTimestamp: time,
  lastTimestamp: time,
  count: int32,
  type: string,
  eventTime: time,
  series: struct("EventSeries", { count: int32, lastObservedTime: time }),
  action: string,
  related: OBJECT_REFERENCE,
  reportingComponent: string,
  reportingInstance: string,
});

const REPLICA_STATUS = {
  replicas: int32,
  fullyLabeledReplicas: int32,
  readyReplicas: int32,
  availableReplicas: int32,
  terminatingReplicas: int32,
  observedGeneration: int64,
  conditions: keyedList("type", CONDITION),
};

export const REPLICATION_CONTROLLER = objectSchema("ReplicationController", {
  spec: struct("ReplicationControllerSpec", {
    replicas: int32,
    minReadySeconds: int32,
    selector: stringMap,
    template: POD_TEMPLATE,
  }),
  status: struct("ReplicationControllerStatus", REPLICA_STATUS),
});

export const REPLICA_SET = objectSchema("ReplicaSet", {
  spec: struct("ReplicaSetSpec", {
    replicas: int32,
    minReadySeconds: int32,
    selector: LABEL_SELECTOR,
    template: POD_TEMPLATE,
  }),
  status: struct("ReplicaSetStatus", REPLICA_STATUS),
});

/** autoscaling/v1: the `scale` subresource. */
export const SCALE = objectSchema("Scale", {
  spec: struct("ScaleSpec", { replicas: int32 }),
  status: struct("ScaleStatus", { replicas: int32, selector: string }),
});
