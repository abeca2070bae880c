// Bulk over a pipe, the core driven directly: node dist/bench/core-bulk.js [offload]
import { Cidr, IpAddress, Source, Stack } from '../src/core.ts';
import { pipePair } from '../src/phy/pipe.ts';

const offload = process.argv.includes('offload');
const [left, right] = pipePair({ medium: 'ip', mtu: 1500, offload });
const random = (): number => Math.floor(Math.random() * 2 ** 32);
const a = new Stack({ memory: left.memory, random });
const b = new Stack({ memory: left.memory, random });
a.addInterface(left, { addresses: [Cidr.parse('10.0.0.1/24')] });
b.addInterface(right, { addresses: [Cidr.parse('10.0.0.2/24')] });
const listener = b.tcpSocket();
listener.listen({ port: 80 });
const client = a.tcpSocket();
client.connect({ address: IpAddress.parse('10.0.0.2'), port: 80 });
let now = 1;
let peer = null;
for (let i = 0; i < 10 && peer === null; i++) {
  a.poll(now);
  b.poll(now);
  peer = listener.accept();
}
if (peer === null) throw new Error('no connection');
const chunk = new Uint8Array(65536).map((_, i) => i);
const target = new Uint8Array(65536);
const drain = (s: Stack): void => {
  while (s.nextChanged() !== null);
};
for (let round = 0; round < 4; round++) {
  let total = 0;
  const start = performance.now();
  const segments = a.stats.tcpSegmentsOut;
  const acks = b.stats.tcpSegmentsOut;
  for (let i = 0; ; i++) {
    while (client.send(chunk) > 0);
    a.poll(now);
    b.poll(now);
    for (;;) {
      const n = peer.recv(target);
      if (n === 0) break;
      total += n;
    }
    b.poll(now);
    a.poll(now);
    drain(a);
    drain(b);
    if ((i & 63) === 0) {
      now = performance.now();
      if (now - start > 1000) break;
    }
  }
  const ns = (performance.now() - start) * 1e6;
  const sent = a.stats.tcpSegmentsOut - segments;
  console.log(
    `${((total * 8) / ns).toFixed(1)} Gbit/s, ${(ns / sent).toFixed(0)} ns a segment, ${(sent / (b.stats.tcpSegmentsOut - acks)).toFixed(1)} segments an ACK`,
  );
}
void Source;
console.log(
  JSON.stringify(a.stats),
  JSON.stringify(b.stats),
  a.memory.usedBytes,
  client.connection?.cwnd,
  client.connection?.mss,
);
