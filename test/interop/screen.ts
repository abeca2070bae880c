/** Looking at pages: a headless Chromium, and the pixels of what it shows. @module */
import { existsSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** Why pages cannot be looked at here, or false. */
export const skipBrowser = (): string | false => CHROMIUM === undefined && 'needs chromium';

/** Starts it; to be closed. */
export async function launch() {
  const { chromium } = await import('playwright-core');
  // As root it has no sandbox; what it opens here is our own.
  return chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox', '--force-color-profile=srgb'] });
}

/** An image of 8 bits a channel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Channels of a pixel: 3 or 4. */
  readonly channels: number;
  readonly bytes: Uint8Array;
}

/** Reads a PNG as Chromium makes it: 8 bits, RGB or RGBA, not interlaced. */
export function readPng(file: Uint8Array): Picture {
  const dv = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const data: Uint8Array[] = [];
  let [width, height, channels] = [0, 0, 0];
  for (let p = 8; p < file.length; ) {
    const length = dv.getUint32(p);
    const type = String.fromCharCode(...file.subarray(p + 4, p + 8));
    if (type === 'IHDR') {
      [width, height] = [dv.getUint32(p + 8), dv.getUint32(p + 12)];
      const [depth, color, interlace] = [file[p + 16], file[p + 17], file[p + 20]];
      if (depth !== 8 || (color !== 2 && color !== 6) || interlace !== 0) throw new Error('png: of another kind');
      channels = color === 2 ? 3 : 4;
    } else if (type === 'IDAT') data.push(file.subarray(p + 8, p + 8 + length));
    p += 12 + length;
  }
  return {
    width,
    height,
    channels,
    bytes: unfilter(inflateSync(Buffer.concat(data)), width * channels, height, channels),
  };
}

/** Takes the filters off the rows: PNG §9. */
function unfilter(rows: Uint8Array, stride: number, height: number, channels: number): Uint8Array {
  const bytes = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)]!;
    for (let x = 0; x < stride; x++) {
      const at = y * stride + x;
      const a = x >= channels ? bytes[at - channels]! : 0;
      const b = y > 0 ? bytes[at - stride]! : 0;
      const c = x >= channels && y > 0 ? bytes[at - stride - channels]! : 0;
      const guess = [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter]!;
      bytes[at] = rows[y * (stride + 1) + 1 + x]! + guess;
    }
  }
  return bytes;
}

function paeth(a: number, b: number, c: number): number {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/** Where in the picture the pixels of a colour are, within `tolerance` of each channel. */
export function pixelsOf(picture: Picture, color: readonly number[], tolerance = 40): { x: number; y: number }[] {
  const { width, bytes, channels } = picture;
  const found: { x: number; y: number }[] = [];
  for (let i = 0; i < bytes.length; i += channels) {
    const isNear = color.every((value, k) => Math.abs(bytes[i + k]! - value) <= tolerance);
    if (isNear) found.push({ x: (i / channels) % width, y: Math.floor(i / channels / width) });
  }
  return found;
}

/**
 * The share of pixels in each cell of a grid that differ from the background, in 0 to 9.
 * @returns a row of digits for each row of cells, so that the picture can be read in a text file
 */
export function inkOf({ width, height, channels, bytes }: Picture, columns: number, rows: number): string[] {
  const ink = new Float64Array(columns * rows);
  const background = [...bytes.subarray(0, 3)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * channels;
      const differs = background.some((value, k) => Math.abs(bytes[at + k]! - value) > 60);
      const cell = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
      if (differs) ink[cell] = ink[cell]! + 1;
    }
  }
  const full = (width / columns) * (height / rows);
  const digit = (value: number): string => (value === 0 ? '.' : `${Math.min(9, Math.floor((value / full) * 20))}`);
  return Array.from({ length: rows }, (_, y) => [...ink.subarray(y * columns, (y + 1) * columns)].map(digit).join(''));
}
