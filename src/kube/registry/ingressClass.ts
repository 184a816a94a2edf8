/** The class of an Ingress that names none (kubernetes plugin/pkg/admission/network/defaultingressclass). */
import type { Store } from "../../store/index.js";
import { CLASS_ANNOTATION } from "../kinds/ingress.js";
import type { Ingress } from "../objects.js";
import { resourceInfo } from "../resources.js";
import { decodeStored, prefixOf } from "./object.js";

const DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class";
const CLASSES = resourceInfo("ingressclasses");

/** Fills in the class that is marked as the default: the newest, and of those of one second the first by name. */
export async function setDefaultIngressClass(store: Store, ingress: Ingress): Promise<void> {
  if (!ingress.spec || ingress.spec.ingressClassName !== undefined) return;
  if (ingress.metadata?.annotations?.[CLASS_ANNOTATION] !== undefined) return;
  const { kvs } = await store.range(prefixOf(CLASSES), { prefix: true });
  const defaults = kvs
    .map((kv) => decodeStored(kv).metadata)
    .filter(({ annotations }) => annotations?.[DEFAULT_ANNOTATION] === "true")
    .sort(
      (a, b) =>
        Date.parse(b.creationTimestamp ?? "") - Date.parse(a.creationTimestamp ?? "") ||
        (a.name < b.name ? -1 : 1),
    );
  if (defaults[0]) ingress.spec.ingressClassName = defaults[0].name;
}
