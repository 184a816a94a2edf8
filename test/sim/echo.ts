/** What podwire/echo is to a real cluster. */
import { text } from "./packet.js";
import { serveSctp } from "./sctp.js";
import type { Station } from "./station.js";

/** Makes a station an echo server that tells who asked whom: `pod=NAME client=IP:PORT`. */
export function serveEcho(station: Station, port = 8080): void {
  station.serveTcp(port, (end) => {
    end.onData = (data) =>
      end.write(`pod=${station.name} client=${end.options.peer}:${end.options.peerPort} ${data}`);
    end.onPeerClosed = () => end.close();
  });
  serveSctp(station, port, (end) => {
    end.onData = (data) => end.say(`pod=${station.name} client=${end.peer}:${end.peerPort} ${data}`);
  });
  station.serveUdp(port, (datagram) => text(`pod=${station.name} client=${datagram.from}:${datagram.sport}`));
}
