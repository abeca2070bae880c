/** The thread of an application: the suite over two channels, or one that opens sockets and waits for its end. */
import { Channel, tcpConnect, tcpConnectBlocking, tcpListen, udpBind } from '../../src/netstack/index.ts';
import { blockingCalls, blockingSide, channelSide, OTHER, type Setting, waitingCalls } from '../netstack/suite.ts';
import { type Results, runSuite } from './results.ts';
import type { Scope } from './worker.ts';

export interface AppWork {
  /** `suite`: answered with {@link Results}. `hold`: `holding`, and then nothing. `block`: the code that ended the call. */
  readonly kind: 'suite' | 'hold' | 'block';
  readonly own: unknown;
  readonly other: unknown;
  readonly isBlocking?: boolean;
}

export async function serve(scope: Scope, { kind, ...work }: AppWork): Promise<void> {
  const [own, other] = [Channel.from(work.own), Channel.from(work.other)];
  if (kind === 'suite') {
    scope.postMessage(await suiteOver(own, other, work.isBlocking === true));
  } else if (kind === 'hold') {
    await udpBind(own, { port: 53 });
    await tcpListen(own, { port: 80 });
    scope.postMessage('holding');
    await new Promise(() => {});
  } else {
    const listener = await tcpListen(other, { port: 99 });
    const stream = await tcpConnect(own, { host: OTHER, port: 99 });
    scope.postMessage('blocking');
    try {
      stream.readBlocking();
    } catch (error) {
      scope.postMessage((error as { code?: string }).code ?? String(error));
    }
    await listener.close();
  }
}

async function suiteOver(own: Channel, other: Channel, isBlocking: boolean): Promise<Results> {
  const side = isBlocking ? blockingSide : channelSide;
  const setting: Setting = { own: side(own), other: side(other), calls: isBlocking ? blockingCalls : waitingCalls };
  const results = await runSuite(() => setting);
  if (!isBlocking && own.control === null) results.push(['blocking is refused', refused(own)]);
  own.close();
  other.close();
  return results;
}

function refused(channel: Channel): string | null {
  try {
    tcpConnectBlocking(channel, { host: OTHER, port: 80 });
    return 'it was not refused';
  } catch (error) {
    return (error as { code?: string }).code === 'EOPNOTSUPP' ? null : String(error);
  }
}
