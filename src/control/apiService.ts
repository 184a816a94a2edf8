/**
 * The Service `default/kubernetes`, by which pods find the API, with its Endpoints and slice: written by no selector but
 * by this controller, as kube-apiserver does (kubernetes pkg/controlplane/controller/kubernetesservice). What somebody
 * deletes comes back; of what somebody changes, the addresses and labels of the endpoints do.
 */
import { isDeepStrictEqual } from "node:util";
import type { EndpointSlice, Endpoints, KubeObject, ResourceName, Service } from "../kube/index.js";
import { type Context, type Controller, newQueue } from "./context.js";
import { found } from "./queue.js";

/** Where the API is. */
export interface ApiPlace {
  /** The ClusterIP: the first of the service network. */
  readonly serviceIp: string;
  /** Address and TCP port of the API server behind it. */
  readonly address: string;
  readonly port: number;
}

const NAME = "kubernetes";
const NAMESPACE = "default";
const KEY = `${NAMESPACE}/${NAME}`;
const PORT = 443;
const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror";

export function startApiService(context: Context, place: ApiPlace): Controller {
  const { client, caches } = context;
  const queue = newQueue(context, "kubernetes-service", reconcile);

  async function reconcile(): Promise<void> {
    const service = await found(client.get<Service>("services", NAMESPACE, NAME));
    if (!service) await client.create<Service>("services", serviceFor(place));
    await ensure<Endpoints>("endpoints", endpointsFor(place), ["subsets"]);
    await ensure<EndpointSlice>("endpointslices", sliceFor(place), ["endpoints", "ports"]);
  }

  /** Creates the object, or sets its labels and these fields when they differ. */
  async function ensure<T extends KubeObject>(
    resource: ResourceName,
    wanted: T,
    fields: readonly (keyof T)[],
  ): Promise<void> {
    const existing = await found(client.get<T>(resource, NAMESPACE, NAME));
    if (!existing) {
      await client.create(resource, wanted);
      return;
    }
    const labels = wanted.metadata?.labels ?? {};
    const sameFields = fields.every((field) => isDeepStrictEqual(existing[field], wanted[field]));
    if (sameFields && isDeepStrictEqual(existing.metadata?.labels, labels)) return;
    const changed = Object.fromEntries(fields.map((field) => [field, wanted[field]]));
    await client.update<T>(resource, {
      ...existing,
      ...changed,
      metadata: { ...existing.metadata, labels },
    });
  }

  const watched = ({ now, before }: { now?: KubeObject; before?: KubeObject }) => {
    const { namespace, name } = (now ?? before)?.metadata ?? {};
    if (namespace === NAMESPACE && name === NAME) queue.add(KEY);
  };
  caches.services.subscribe(watched);
  caches.endpoints.subscribe(watched);
  caches.endpointslices.subscribe(watched);
  queue.add(KEY);
  return queue;
}

function serviceFor({ serviceIp, port }: ApiPlace): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: NAME,
      namespace: NAMESPACE,
      labels: { component: "apiserver", provider: "kubernetes" },
    },
    spec: {
      type: "ClusterIP",
      clusterIP: serviceIp,
      ipFamilyPolicy: "SingleStack",
      sessionAffinity: "None",
      ports: [{ name: "https", protocol: "TCP", port: PORT, targetPort: port }],
    },
  };
}

function endpointsFor({ address, port }: ApiPlace): Endpoints {
  return {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { name: NAME, namespace: NAMESPACE, labels: { [SKIP_MIRROR_LABEL]: "true" } },
    subsets: [{ addresses: [{ ip: address }], ports: [{ name: "https", port, protocol: "TCP" }] }],
  };
}

function sliceFor({ address, port }: ApiPlace): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: NAME, namespace: NAMESPACE, labels: { [SERVICE_NAME_LABEL]: NAME } },
    addressType: address.includes(":") ? "IPv6" : "IPv4",
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [{ name: "https", port, protocol: "TCP" }],
  };
}
