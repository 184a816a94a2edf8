/** core/v1 Pod and the controllers with a pod template. */
import { z } from "zod";
import { dnsLabel, labels } from "../schema.js";
import {
  labelSelector,
  metadata,
  opaque,
  port,
  portName,
  portOrName,
  protocol,
  stringMap,
  templateMetadata,
} from "./common.js";

const seconds = z.int().min(0);

const probe = z.strictObject({
  exec: z.strictObject({ command: z.array(z.string()).min(1) }).optional(),
  httpGet: z
    .strictObject({
      path: z.string().optional(),
      port: portOrName,
      ...opaque("host", "httpHeaders"),
      scheme: z.enum(["HTTP", "HTTPS"]).optional(),
    })
    .optional(),
  tcpSocket: z.strictObject({ port: portOrName, host: z.string().optional() }).optional(),
  initialDelaySeconds: seconds.optional(),
  timeoutSeconds: seconds.optional(),
  periodSeconds: seconds.optional(),
  successThreshold: seconds.optional(),
  failureThreshold: seconds.optional(),
  grpc: z.strictObject({ port, service: z.string().optional() }).optional(),
  terminationGracePeriodSeconds: seconds.optional(),
});

const envVar = z.strictObject({
  name: z.string().min(1),
  value: z.string().optional(),
  valueFrom: z
    .strictObject({
      fieldRef: z.strictObject({ apiVersion: z.string().optional(), fieldPath: z.string() }).optional(),
      ...opaque("configMapKeyRef", "resourceFieldRef", "secretKeyRef"),
    })
    .optional(),
});

const container = z.strictObject({
  name: dnsLabel(63),
  image: z.string().min(1),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.array(envVar).optional(),
  ports: z
    .array(
      z.strictObject({
        containerPort: port,
        name: portName.optional(),
        protocol: protocol.optional(),
        hostPort: port.optional(),
        hostIP: z.string().optional(),
      }),
    )
    .optional(),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
  startupProbe: probe.optional(),
  workingDir: z.string().optional(),
  ...opaque(
    "envFrom",
    "imagePullPolicy",
    "lifecycle",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
  ),
});

export const podSpec = z.strictObject({
  containers: z.array(container).min(1),
  initContainers: z.array(container).optional(),
  restartPolicy: z.enum(["Always", "OnFailure", "Never"]).optional(),
  nodeSelector: labels.optional(),
  nodeName: z.string().optional(),
  terminationGracePeriodSeconds: seconds.optional(),
  hostname: dnsLabel(63).optional(),
  setHostnameAsFQDN: z.boolean().optional(),
  subdomain: dnsLabel(63).optional(),
  enableServiceLinks: z.boolean().optional(),
  ...opaque(
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "imagePullSecrets",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
  ),
});

const template = z.strictObject({ metadata: templateMetadata.optional(), spec: podSpec });
const typeMeta = { apiVersion: z.string(), kind: z.string() };

export const pod = z.strictObject({ ...typeMeta, metadata: metadata(), spec: podSpec, ...opaque("status") });

export const replicationController = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({
    replicas: z.int().min(0).optional(),
    minReadySeconds: seconds.optional(),
    selector: stringMap.optional(),
    template,
  }),
  ...opaque("status"),
});

export const replicaSet = z.strictObject({
  ...typeMeta,
  metadata: metadata(),
  spec: z.strictObject({
    replicas: z.int().min(0).optional(),
    minReadySeconds: seconds.optional(),
    selector: labelSelector,
    template,
  }),
  ...opaque("status"),
});

export const namespace = z.strictObject({
  ...typeMeta,
  metadata: metadata(dnsLabel(63)),
  ...opaque("spec", "status"),
});
