/** The store's endpoints and the channels to them: one is used at a time, the next one when it fails. */
import { type ChannelOptions, Client, connectivityState, credentials } from "@grpc/grpc-js";

/** How long a connection may take to come before the next endpoint gets its turn. */
const CONNECT_TIMEOUT_MS = 2000;

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Notices a peer that vanished. etcd refuses pings more often than every 5 s.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5000,
  // A proxy of the environment is for the web, not for the store.
  "grpc.enable_http_proxy": 0,
};

interface Channel {
  readonly endpoint: string;
  readonly client: Client;
}

export class Endpoints {
  readonly #channels: readonly Channel[];
  #index = 0;

  /** @throws Error for an endpoint of a form that is not known */
  constructor(endpoints: readonly string[]) {
    if (endpoints.length === 0)
      throw new Error("store: no endpoint given; use http://host:port or unix:/path");
    this.#channels = endpoints.map((endpoint) => ({
      endpoint,
      client: new Client(toTarget(endpoint), credentials.createInsecure(), CHANNEL_OPTIONS),
    }));
  }

  /** The one in use. */
  get current(): Channel {
    return this.#channels[this.#index];
  }

  /** Moves on from a channel that failed, unless someone has already. */
  failed(channel: Channel): void {
    if (channel === this.current) this.#index = (this.#index + 1) % this.#channels.length;
  }

  /** The current channel once its connection stands or is refused; after a timeout, as it is. */
  async connected(): Promise<Channel> {
    const channel = this.current;
    const connection = channel.client.getChannel();
    const deadline = Date.now() + CONNECT_TIMEOUT_MS;
    for (;;) {
      const state = connection.getConnectivityState(true);
      const comes = state === connectivityState.IDLE || state === connectivityState.CONNECTING;
      if (!comes || Date.now() >= deadline) return channel;
      await new Promise<void>((resolve) => {
        connection.watchConnectivityState(state, deadline, () => resolve());
      });
    }
  }

  close(): void {
    for (const { client } of this.#channels) client.close();
  }
}

/** gRPC's name for an endpoint. */
function toTarget(endpoint: string): string {
  const socket = /^unix:(?:\/\/)?(\/.+)$/.exec(endpoint)?.[1];
  if (socket !== undefined) return `unix:${socket}`;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol === "https:") {
    throw new Error(`store endpoint ${endpoint}: TLS is not supported; use http://host:port or unix:/path`);
  }
  if (url?.username || url?.password) {
    throw new Error(
      `store endpoint ${endpoint}: user names are not supported; the store must not ask for one`,
    );
  }
  if (url?.protocol !== "http:" || url.hostname === "" || url.pathname !== "/") {
    throw new Error(`store endpoint ${endpoint} is not understood; use http://host:port or unix:/path`);
  }
  return `dns:${url.hostname}:${url.port || "80"}`;
}
