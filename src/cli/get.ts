/** `ethertype get URL`: an HTTP/1.1 GET through the stack. @module */
import { closeSync, openSync, writeSync } from 'node:fs';
import { NetError } from '../index.ts';
import { readInteger, readNumber, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, CommandError, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';
import { get, type ResponseHead, redirectOf } from './http-client.ts';
import { HttpError } from './http-request.ts';
import { version } from './version.ts';

const REDIRECTS_DEFAULT = 10;
/** Seconds without a byte after which a transfer counts as dead. */
const STALL_DEFAULT_S = 30;
/** Bytes of a body that --json shows as text. */
const JSON_BODY_BYTES_MAX = 1 << 20;

const usage = `usage: ethertype get (--tap NAME | --tun NAME) --address CIDR... [OPTION]... URL

Gets an http:// URL and writes the body to stdout. Redirects are followed. Exit code 1 where the answer is an error
(status 400 and above), is cut short, or does not come.

  ethertype get --tap tap0 --address 192.168.69.1/24 --gateway 192.168.69.100 http://192.168.69.100/

  -o, --output FILE        writes the body there
  -i, --include            writes the status line and header fields before the body
  --redirects N            redirects followed at most; default ${REDIRECTS_DEFAULT}
  --timeout S              seconds without anything happening; default ${STALL_DEFAULT_S}
  -4, -6                   IPv4 or IPv6 only
  --json                   prints one JSON document: status, headers, redirects, bytes, time, and without -o the body
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  ...client.FAMILY_OPTIONS,
  output: { type: 'string', short: 'o' },
  include: { type: 'boolean', short: 'i' },
  redirects: { type: 'string' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
} as const;

function readUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `http://${text}`);
  } catch {
    throw new UsageError(`expected a URL like http://192.168.69.100/, got ${JSON.stringify(text)}`);
  }
  if (url.protocol !== 'http:') throw new UsageError(`expected an http: URL, got ${url.protocol}`);
  return url;
}

function readSettings(args: string[]) {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const [text] = positionals;
  if (text === undefined) throw new UsageError('expected a URL like http://192.168.69.100/');
  return {
    url: readUrl(text),
    family: client.readFamily(values),
    iface: client.readInterface(values),
    output: values.output,
    include: values.include === true,
    redirects: readInteger('redirects', values.redirects, 0, 100) ?? REDIRECTS_DEFAULT,
    stallMs: (readNumber('timeout', values.timeout, 0.1, 3600) ?? STALL_DEFAULT_S) * 1000,
    json: values.json === true,
  };
}

type Settings = ReturnType<typeof readSettings>;

/** Where the body goes. */
class Output {
  bytes = 0;
  readonly #fd: number | null;
  readonly #gathered: Uint8Array[] | null;
  #gatheredBytes = 0;

  constructor({ output, json }: Settings) {
    this.#gathered = json && output === undefined ? [] : null;
    try {
      this.#fd = output === undefined ? null : openSync(output, 'w');
    } catch (error) {
      throw new CommandError(`cannot write to ${output}: ${(error as Error).message}`);
    }
  }

  write(piece: Uint8Array): Promise<void> | undefined {
    this.bytes += piece.length;
    if (this.#gathered !== null) {
      if (this.#gatheredBytes < JSON_BODY_BYTES_MAX) this.#gathered.push(piece.slice());
      this.#gatheredBytes += piece.length;
      return undefined;
    }
    if (this.#fd !== null) {
      for (let at = 0; at < piece.length; ) at += writeSync(this.#fd, piece, at);
      return undefined;
    }
    // A reader that is slower than the network holds the sender up.
    if (process.stdout.write(piece.slice())) return undefined;
    return new Promise((resolve) => process.stdout.once('drain', resolve));
  }

  get text(): string | undefined {
    if (this.#gathered === null) return undefined;
    return Buffer.concat(this.#gathered).subarray(0, JSON_BODY_BYTES_MAX).toString('utf8');
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}

/** Follows redirects to the answer that counts. */
async function fetchUrl(settings: Settings, { host }: client.Client, output: Output) {
  const controller = new AbortController();
  const late = (): void => {
    controller.abort(
      new CommandError(`nothing happened for ${settings.stallMs / 1000} s: raise --timeout if it may take longer`),
    );
  };
  let timer = setTimeout(late, settings.stallMs);
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(late, settings.stallMs);
  };
  const visited: string[] = [];
  try {
    for (let { url } = settings; ; ) {
      const name = url.hostname.replace(/^\[|\]$/g, '');
      const address = `${await client.lookupTarget(host, name, settings.family)}`;
      let next: URL | null = null;
      const onHead = (head: ResponseHead): boolean => {
        alive();
        next = redirectOf(head, url);
        if (settings.include && !settings.json)
          void output.write(Buffer.from(`${head.text.replace(/\r?\n/g, '\r\n')}\r\n\r\n`, 'latin1'));
        if (settings.include) output.bytes = 0;
        return next === null;
      };
      const onBody = (piece: Uint8Array): Promise<void> | undefined => {
        alive();
        return output.write(piece);
      };
      const userAgent = `ethertype/${version()}`;
      const head = await get(host, url, { address, userAgent, signal: controller.signal, onHead, onBody });
      if (next === null) return { url, head, visited };
      visited.push(url.href);
      if (visited.length > settings.redirects)
        throw new CommandError(`more than ${settings.redirects} redirects, the last to ${next}`);
      url = readRedirect(next);
    }
  } finally {
    clearTimeout(timer);
  }
}

function readRedirect(url: URL): URL {
  if (url.protocol === 'http:') return url;
  throw new CommandError(`the server redirects to ${url}, which only http: can be followed`);
}

async function run(args: string[]): Promise<number> {
  const settings = readSettings(args);
  const opened = await client.openClient('get', settings.iface);
  const startedMs = performance.now();
  try {
    const output = new Output(settings);
    try {
      const { url, head, visited } = await fetchUrl(settings, opened, output);
      if (settings.json) {
        const { status, reason, headers } = head;
        const seconds = Math.round(performance.now() - startedMs) / 1000;
        const body = output.text;
        const answer = { url: url.href, status, reason, headers: Object.fromEntries(headers), redirects: visited };
        console.log(
          JSON.stringify({ ...answer, bytes: output.bytes, seconds, ...(body === undefined ? {} : { body }) }, null, 2),
        );
      }
      if (head.status < 400) return 0;
      process.stderr.write(`ethertype get: ${url.href} answers ${head.status} ${head.reason}\n`);
      return 1;
    } finally {
      output.close();
    }
  } catch (error) {
    if (error instanceof HttpError || error instanceof NetError)
      throw new CommandError(`${settings.url.href}: ${error.message}`);
    throw error;
  } finally {
    await opened.close();
  }
}

export const command: Command = {
  name: 'get',
  summary: 'an HTTP GET from a TUN or TAP interface, to stdout',
  usage,
  run,
};
