import { createHost } from 'ethertype';
import { DnsServer } from 'ethertype/dns';
import { Driver, Netstack, resolve, tcpConnect } from 'ethertype/netstack';
import { pipePair } from 'ethertype/phy';

// resolve, connect, send, receive, close: the exchange of the small socket layer, over a channel.
const [left, right] = pipePair();
const server = createHost({ device: left, addresses: ['10.0.0.1/24'] });
const dns = await DnsServer.start(server, { domains: ['lan'], hosts: { 'neverssl.lan': '10.0.0.1' } });
const listener = await server.tcp.listen({ port: 80 });
const serving = (async () => {
  const stream = await listener.accept();
  await stream.read(); // the request fits one segment
  await stream.write(
    new TextEncoder().encode('HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n'),
  );
  await stream.close();
})();

const config = { addresses: ['10.0.0.2/24'], nameServers: ['10.0.0.1'], memory: left.memory };
const driver = new Driver(new Netstack(config), right).run();
const host = 'neverssl.lan';
const [address] = await resolve(driver, host);
const stream = await tcpConnect(driver, { host: address!, port: 80 });
await stream.write(new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
let response = '';
for await (const chunk of stream) response += new TextDecoder().decode(chunk);
await stream.close();
console.log(response.split('\r\n')[0], response.endsWith('hello\n'));

await serving;
await dns.close();
driver.close();
await server.close();
