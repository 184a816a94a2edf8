import type { AddressFamily } from "./family.js";
import { asString } from "./read.js";
import { isSchedulerName, SCHEDULER_NAMES } from "./schedulers/index.js";
import type { Endpoint, InvalidHandler, ServicePort } from "./types.js";

/** Annotation of a Service that names its scheduler. */
export const SCHEDULER_ANNOTATION = "podwire.dev/scheduler";
/** Annotation of a Service that gives weights for `wrr`: `web-1=3,172.16.2.5=1`. Endpoints not named weigh 1. */
export const WEIGHTS_ANNOTATION = "podwire.dev/weights";

/** IPVS allows as much (`ipvsadm -w`), and sums of such weights stay small whole numbers. */
const MAX_WEIGHT = 65_535;

/** How a Service wants its endpoints chosen. What makes no sense is reported and left out. */
export function readScheduling(
  service: string,
  annotations: Readonly<Record<string, unknown>>,
  onInvalid: InvalidHandler,
): Pick<ServicePort, "scheduler" | "weights"> {
  const weights = readWeights(service, asString(annotations[WEIGHTS_ANNOTATION]), onInvalid);
  const name = annotations[SCHEDULER_ANNOTATION];
  if (name === undefined) return { weights };
  if (isSchedulerName(name)) return { scheduler: name, weights };
  onInvalid(
    `Service ${service}: annotation ${SCHEDULER_ANNOTATION} must be one of ${SCHEDULER_NAMES.join(", ")}; the default scheduler is used.`,
  );
  return { weights };
}

/** The weight of an endpoint by its address or, if its slice names a pod, by the pod's name. */
export function weightOf(port: ServicePort, endpoint: Endpoint, family: AddressFamily): number {
  const pod = endpoint.target.slice(endpoint.target.indexOf("/") + 1);
  const address = family.format(endpoint.ip);
  return port.weights.find(([name]) => name === pod || name === address)?.[1] ?? 1;
}

function readWeights(service: string, text: string, onInvalid: InvalidHandler): ServicePort["weights"] {
  const weights: (readonly [string, number])[] = [];
  for (const part of text.split(",").map((entry) => entry.trim())) {
    if (part === "") continue;
    const [, endpoint, digits] = /^([^=\s]+)\s*=\s*(\d{1,5})$/.exec(part) ?? [];
    const weight = Number(digits);
    if (endpoint !== undefined && weight <= MAX_WEIGHT) weights.push([endpoint, weight]);
    else
      onInvalid(
        `Service ${service}: annotation ${WEIGHTS_ANNOTATION} has ${JSON.stringify(part)}, which is not pod-or-address=weight with a weight from 0 to ${MAX_WEIGHT}; it is ignored.`,
      );
  }
  return weights;
}
