/** Schemas of pods and pod templates; parts that no part of Podwire reads are passed on as they are. */
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
  strings,
  struct,
  time,
} from "../schema.js";
import { OBJECT_META, objectSchema } from "./meta.js";

const HTTP_GET = struct("HTTPGetAction", {
  path: string,
  port: intOrString,
  host: string,
  scheme: string,
  httpHeaders: list(struct("HTTPHeader", { name: string, value: string })),
});

const PROBE = struct("Probe", {
  exec: struct("ExecAction", { command: strings }),
  httpGet: HTTP_GET,
  tcpSocket: struct("TCPSocketAction", { port: intOrString, host: string }),
  grpc: struct("GRPCAction", { port: int32, service: string }),
  initialDelaySeconds: int32,
  timeoutSeconds: int32,
  periodSeconds: int32,
  successThreshold: int32,
  failureThreshold: int32,
  terminationGracePeriodSeconds: int64,
});

const ENV_VAR = struct("EnvVar", {
  name: string,
  value: string,
  valueFrom: struct("EnvVarSource", {
    fieldRef: struct("ObjectFieldSelector", { apiVersion: string, fieldPath: string }),
    resourceFieldRef: any,
    configMapKeyRef: any,
    secretKeyRef: any,
  }),
});

const CONTAINER_PORT = struct("ContainerPort", {
  name: string,
  hostPort: int32,
  containerPort: int32,
  protocol: string,
  hostIP: string,
});

const CONTAINER_FIELDS = {
  name: string,
  image: string,
  command: strings,
  args: strings,
  workingDir: string,
  ports: keyedList("containerPort", CONTAINER_PORT),
  envFrom: any,
  env: keyedList("name", ENV_VAR),
  resources: any,
  resizePolicy: any,
  restartPolicy: string,
  volumeMounts: keyedList("mountPath", any),
  volumeDevices: keyedList("devicePath", any),
  livenessProbe: PROBE,
  readinessProbe: PROBE,
  startupProbe: PROBE,
  lifecycle: any,
  terminationMessagePath: string,
  terminationMessagePolicy: string,
  imagePullPolicy: string,
  securityContext: any,
  stdin: boolean,
  stdinOnce: boolean,
  tty: boolean,
};
const CONTAINER = struct("Container", CONTAINER_FIELDS);

const TOLERATION = struct("Toleration", {
  key: string,
  operator: string,
  value: string,
  effect: string,
  tolerationSeconds: int64,
});

const POD_SPEC = struct("PodSpec", {
  volumes: keyedList("name", any),
  initContainers: keyedList("name", CONTAINER),
  containers: keyedList("name", CONTAINER),
  ephemeralContainers: keyedList(
    "name",
    struct("EphemeralContainer", { ...CONTAINER_FIELDS, targetContainerName: string }),
  ),
  restartPolicy: string,
  terminationGracePeriodSeconds: int64,
  activeDeadlineSeconds: int64,
  dnsPolicy: string,
  nodeSelector: stringMap,
  serviceAccountName: string,
  serviceAccount: string,
  automountServiceAccountToken: boolean,
  nodeName: string,
  hostNetwork: boolean,
  hostPID: boolean,
  hostIPC: boolean,
  shareProcessNamespace: boolean,
  securityContext: any,
  imagePullSecrets: keyedList("name", any),
  hostname: string,
  subdomain: string,
  affinity: any,
  schedulerName: string,
  tolerations: list(TOLERATION),
  hostAliases: keyedList("ip", any),
  priorityClassName: string,
  priority: int32,
  dnsConfig: any,
  readinessGates: any,
  runtimeClassName: string,
  enableServiceLinks: boolean,
  preemptionPolicy: string,
  overhead: any,
  topologySpreadConstraints: any,
  setHostnameAsFQDN: boolean,
  os: any,
  hostUsers: boolean,
  schedulingGates: any,
  resourceClaims: any,
  resources: any,
});

const CONTAINER_STATE = struct("ContainerState", {
  waiting: struct("ContainerStateWaiting", { reason: string, message: string }),
  running: struct("ContainerStateRunning", { startedAt: time }),
  terminated: struct("ContainerStateTerminated", {
    exitCode: int32,
    signal: int32,
    reason: string,
    message: string,
    startedAt: time,
    finishedAt: time,
    containerID: string,
  }),
});

const CONTAINER_STATUS = struct("ContainerStatus", {
  name: string,
  state: CONTAINER_STATE,
  lastState: CONTAINER_STATE,
  ready: boolean,
  restartCount: int32,
  image: string,
  imageID: string,
  containerID: string,
  started: boolean,
  allocatedResources: any,
  resources: any,
  volumeMounts: any,
});

/** A condition of any kind of object. */
export const CONDITION = struct("Condition", {
  type: string,
  status: string,
  observedGeneration: int64,
  lastHeartbeatTime: time,
  lastProbeTime: time,
  lastTransitionTime: time,
  reason: string,
  message: string,
});

const POD_STATUS = struct("PodStatus", {
  observedGeneration: int64,
  phase: string,
  conditions: keyedList("type", CONDITION),
  message: string,
  reason: string,
  nominatedNodeName: string,
  hostIP: string,
  hostIPs: keyedList("ip", struct("HostIP", { ip: string })),
  podIP: string,
  podIPs: keyedList("ip", struct("PodIP", { ip: string })),
  startTime: time,
  initContainerStatuses: list(CONTAINER_STATUS),
  containerStatuses: list(CONTAINER_STATUS),
  ephemeralContainerStatuses: list(CONTAINER_STATUS),
  qosClass: string,
  resize: string,
  resourceClaimStatuses: any,
});

export const POD = objectSchema("Pod", { spec: POD_SPEC, status: POD_STATUS });
export const POD_TEMPLATE = struct("PodTemplateSpec", { metadata: OBJECT_META, spec: POD_SPEC });
