/** Which Services a change concerns: shared by the two controllers that follow Services and their pods. */
import { isDeepStrictEqual } from "node:util";
import type { KubeObject, Pod } from "../kube/index.js";
import { isManaged } from "./backends.js";
import { type Cache, keyOf } from "./cache.js";
import { type Context, newQueue } from "./context.js";
import { selects } from "./pods.js";
import type { WorkQueue } from "./queue.js";

/**
 * A queue of Service keys, fed by changes of Services, of the pods that they select or selected, and of `results`: the
 * objects that the controller keeps, which somebody else may change; `serviceOf` names the Service of such an object.
 */
export function newServiceQueue<T extends KubeObject>(
  context: Context,
  name: string,
  results: Cache<T>,
  serviceOf: (result: T) => string | undefined,
  reconcile: (key: string) => Promise<void>,
): WorkQueue {
  const { caches } = context;
  const queue = newQueue(context, name, reconcile);
  const addSelecting = (pod: Pod) => {
    for (const service of caches.services.items()) {
      const sameNamespace = service.metadata?.namespace === pod.metadata?.namespace;
      if (sameNamespace && isManaged(service) && selects(service.spec?.selector, pod))
        queue.add(keyOf(service));
    }
  };
  caches.services.subscribe(({ now, before }) => queue.add(keyOf((now ?? before)!)));
  caches.pods.subscribe(({ now, before }) => {
    if (now) addSelecting(now);
    const relabelled = !isDeepStrictEqual(now?.metadata?.labels, before?.metadata?.labels);
    if (before && relabelled) addSelecting(before);
  });
  results.subscribe(({ now, before }) => {
    const service = serviceOf((now ?? before)!);
    if (service !== undefined) queue.add(service);
  });
  return queue;
}
