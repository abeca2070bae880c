/** `ethertype lab`: a whole LAN in memory, real traffic over it, and a readable account. Needs no privilege. @module */
import { readInteger, readNumber, readOptions } from './args.ts';
import { CaptureFile } from './capture-file.ts';
import type { Command } from './command.ts';
import { accountToJson, formatAccount } from './lab/account.ts';
import { Progress } from './lab/progress.ts';
import { runLab } from './lab/run.ts';

const SEED_MAX = 0xffff_ffff;
const SEED_DEFAULT = 1;
/** Beyond it TCP is right to give up. */
const LOSS_PERCENT_MAX = 50;
const LOSS_PERCENT_DEFAULT = 1;
const BULK_BYTES = 256 << 20;

const USAGE = `usage: ethertype lab [OPTION]...

Runs hosts behind a router in memory, in virtual time: they get addresses from it
by DHCP and SLAAC, and names by DNS; then ping, HTTP, UDP echo, a bulk transfer, a
lossy transfer, and broken frames, over IPv4 and IPv6. Ends with an account of
what happened. Needs no privilege.

  --pcap FILE     records the traffic, as pcapng, or as pcap where FILE ends so;
                  without the bulk transfer and the broken frames
  --json          prints the account as one JSON document
  --seed N        a whole number up to ${SEED_MAX}, default ${SEED_DEFAULT}: the same seed gives
                  the same losses and the same broken frames
  --loss PERCENT  loss of the lossy transfer each way, 0 to ${LOSS_PERCENT_MAX}, default ${LOSS_PERCENT_DEFAULT}

Exit code 1 if a phase failed or memory did not come back.`;

async function run(args: string[]): Promise<number> {
  const { values } = readOptions(args, {
    pcap: { type: 'string' },
    json: { type: 'boolean' },
    seed: { type: 'string' },
    loss: { type: 'string' },
  });
  const options = {
    seed: readInteger('seed', values.seed, 0, SEED_MAX) ?? SEED_DEFAULT,
    lossPercent: readNumber('loss', values.loss?.replace(/%$/, ''), 0, LOSS_PERCENT_MAX) ?? LOSS_PERCENT_DEFAULT,
    bulkBytes: BULK_BYTES,
  };
  let failure: string | null = null;
  const onFailure = (message: string): void => {
    failure = message;
  };
  const file = values.pcap === undefined ? null : new CaptureFile(values.pcap, onFailure);
  const progress = new Progress(process.stderr);
  const recording = file === null ? null : { sink: file, format: file.format };
  const onProgress = (phase: string, part: number): void => progress.show(phase, part);
  const account = await runLab({ options, recording, onProgress }).finally(() => {
    progress.clear();
    file?.close();
  });
  const capture = values.pcap === undefined ? null : { file: values.pcap, failure };
  console.log(
    values.json
      ? JSON.stringify(accountToJson(account, options, capture), null, 2)
      : formatAccount(account, options, capture),
  );
  return account.ok && failure === null ? 0 : 1;
}

export const command: Command = {
  name: 'lab',
  summary: 'a LAN in memory, real traffic over it, and an account of it',
  usage: USAGE,
  run,
};
