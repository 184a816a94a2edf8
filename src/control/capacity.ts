/** Endpoints hold at most 1000 addresses (kubernetes pkg/controller/endpoint, truncateEndpoints). */
import type { Endpoints } from "../kube/index.js";

type Subset = NonNullable<Endpoints["subsets"]>[number];

/** Says of Endpoints that they do not show all of their Service. */
export const OVER_CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity";
const MAX_ADDRESSES = 1000;

/** The subsets without what is too much: not-ready addresses go first, from each subset its share. */
export function truncated(subsets: readonly Subset[], max = MAX_ADDRESSES): Subset[] {
  const count = (field: "addresses" | "notReadyAddresses") =>
    subsets.reduce((sum, subset) => sum + (subset[field]?.length ?? 0), 0);
  const [ready, notReady] = [count("addresses"), count("notReadyAddresses")];
  if (ready + notReady <= max) return [...subsets];
  const tooManyReady = ready > max;
  const share = tooManyReady ? max / ready : (max - ready) / notReady;
  const cut = <T>(list: readonly T[] = []) => list.slice(0, Math.floor(list.length * share));
  return subsets.flatMap(({ addresses = [], notReadyAddresses, ports }) => {
    const kept = tooManyReady ? cut(addresses) : addresses;
    const keptNotReady = tooManyReady ? [] : cut(notReadyAddresses);
    if (kept.length + keptNotReady.length === 0) return [];
    return [
      {
        ...(kept.length > 0 && { addresses: kept }),
        ...(keptNotReady.length > 0 && { notReadyAddresses: keptNotReady }),
        ...(ports && { ports }),
      },
    ];
  });
}
