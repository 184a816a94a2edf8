/** Follows Services and EndpointSlices and keeps the proxy's rules in step with them. */
import { type EndpointSlice, Informer, type KubeClient, type Service } from "../../kube/index.js";
import type { NodeProxier } from "../../proxy/index.js";

/** When the change began that a slice shows (discovery.k8s.io; written by the endpoint slice controller). */
const TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time";

/** Told about the proxy's syncs. Times are milliseconds since the epoch. */
export interface SyncObserver {
  queued(nowMs: number): void;
  synced(nowMs: number, durationMs: number, triggersMs: readonly number[]): void;
  failed(error: Error): void;
}

export class ServiceWatch {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly proxier: NodeProxier;
  /** Resolves when the Services of the first list are rules. Never, when stopped before. */
  readonly synced: Promise<void>;
  #setSynced: () => void = () => {};
  readonly #observer: SyncObserver;
  #scheduled = false;
  #triggersMs: number[] = [];

  constructor(client: KubeClient, proxier: NodeProxier, observer: SyncObserver) {
    // The selector with which kube-proxy leaves other proxies' Services alone.
    const labelSelector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
    this.services = new Informer<Service>(client, "services");
    this.slices = new Informer<EndpointSlice>(client, "endpointslices", { labelSelector });
    this.proxier = proxier;
    this.#observer = observer;
    this.synced = new Promise((resolve) => {
      this.#setSynced = resolve;
    });
  }

  start(): void {
    const { proxier } = this;
    const service = (object: Service) => this.changed(() => proxier.onServiceUpsert(object));
    const slice = (object: EndpointSlice) =>
      this.changed(() => {
        proxier.onEndpointSliceUpsert(object);
        this.#noteTrigger(object);
      });
    this.services.start({
      onAdd: service,
      onUpdate: service,
      onDelete: (object) => this.changed(() => proxier.onServiceDelete(object)),
    });
    this.slices.start({
      onAdd: slice,
      onUpdate: slice,
      onDelete: (object) => this.changed(() => proxier.onEndpointSliceDelete(object)),
    });
    void this.services.synced.then(() => this.changed(() => proxier.onServicesSynced()));
    void this.slices.synced.then(() => this.changed(() => proxier.onEndpointSlicesSynced()));
  }

  stop(): void {
    this.services.stop();
    this.slices.stop();
  }

  /** Applies a change, and syncs once after all changes of this turn. */
  changed(apply?: () => void): void {
    apply?.();
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#observer.queued(Date.now());
    setImmediate(() => this.#sync());
  }

  #sync(): void {
    this.#scheduled = false;
    const startMs = performance.now();
    try {
      this.proxier.sync(Date.now());
    } catch (error) {
      this.#observer.failed(error as Error);
      return;
    }
    if (!this.proxier.synced) return;
    this.#setSynced();
    this.#observer.synced(Date.now(), performance.now() - startMs, this.#triggersMs);
    this.#triggersMs = [];
  }

  /** Only of changes after the first sync: what was there before says nothing of this proxy's speed. */
  #noteTrigger({ metadata }: EndpointSlice): void {
    const triggerMs = Date.parse(metadata?.annotations?.[TRIGGER_ANNOTATION] ?? "");
    if (this.proxier.synced && !Number.isNaN(triggerMs)) this.#triggersMs.push(triggerMs);
  }
}
