/** The thread of a spawned stack: see spawn.ts. Its packets come and go over a port, so it must not stop and wait. @module */
import { errorResponse } from './commands.ts';
import { Driver } from './driver.ts';
import { Netstack } from './netstack.ts';
import type { NetstackConfig } from './netstack-config.ts';
import { isNode, nodeThreads } from './node-threads.ts';
import { Pipe, PipeDev } from './pipe.ts';

/** What the parent sends first. */
export interface SpawnMessage {
  readonly config: NetstackConfig;
  readonly packets: MessagePort;
  readonly control: MessagePort;
}

function begin({ config, packets, control }: SpawnMessage): void {
  const [near, far] = Pipe.unbounded();
  const { medium = 'ip', mtu = 1500 } = config;
  try {
    const driver = new Driver(new Netstack(config, performance.now()), new PipeDev({ pipe: near, medium, mtu })).run();
    packets.onmessage = ({ data }) => {
      if (data instanceof Uint8Array) far.tx.trySend(data);
    };
    const forward = (): void => {
      for (let packet = far.rx.tryReceive(); packet !== null; packet = far.rx.tryReceive()) {
        packets.postMessage(packet, [packet.buffer as ArrayBuffer]);
      }
    };
    far.rx.onPacket = forward;
    control.onmessage = ({ data }) => {
      if (data === 'share') {
        try {
          const { channel, transferList } = driver.commandChannel().share();
          control.postMessage(channel, transferList);
        } catch (error) {
          control.postMessage({ error: errorResponse(error, 'share') });
        }
      } else {
        driver.close();
        packets.close();
        control.close();
      }
    };
    control.postMessage('ready');
  } catch (error) {
    control.postMessage({ error: (error as Error).message });
    control.close();
    packets.close();
  }
}

/** Node's workers hear their parent on `parentPort`, browsers' on themselves. */
async function hear(listener: (message: SpawnMessage) => void): Promise<void> {
  if (isNode) {
    const { parentPort } = await nodeThreads();
    parentPort!.once('message', listener);
  } else {
    (globalThis as { onmessage?: unknown }).onmessage = ({ data }: MessageEvent<SpawnMessage>) => listener(data);
  }
}

void hear(begin);
