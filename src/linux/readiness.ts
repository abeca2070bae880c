/**
 * Waiting for a descriptor to become readable without burning a core and without missing a beat: after a drain it may
 * stay hot for a moment, asking poll(2) once a turn of the event loop, then leaves the watch to the loop (epoll).
 *
 * Measured with Linux on the other side: hot, a ping takes 8 us instead of 30 to 45; but a bulk stream runs at 18 Gbit/s
 * instead of 26, since each super-segment is then fetched and acknowledged alone. So only a drain of few bytes goes
 * hot. And it must pay: when it misses, the moment is halved until it is nothing; a wake-up that would have been caught
 * restores it. A thread in poll(2), koffi's other way to wait, costs 15 us a wake-up and one of libuv's four threads.
 * @module
 */
import { Struct } from './ifreq.ts';
import { type Libc, POLLIN, type Watch } from './libc.ts';

/** How long to stay hot after a drain: as long as a wake-up from epoll costs the other side, with room. */
const HOT_MS_MAX = 0.1;
/** Below this a turn of the loop is most of it: do not bother. */
const HOT_MS_MIN = 0.02;
/** More than this in one drain is a bulk transfer, which is better left to gather. */
const HOT_BYTES_MAX = 4096;

export class Readiness {
  /** Times `wake` was called. */
  wakes = 0;
  /** Of them, how many while hot. */
  hotWakes = 0;
  readonly #libc: Libc;
  readonly #pollfd: Struct;
  readonly #watch: Watch;
  readonly #wake: () => void;
  readonly #spin = (): void => this.#turn();
  readonly #readable = (): void => this.#fired();
  readonly #report = (): void => this.#wakeUp();
  /** `awake`: reported, not drained since. `hot` and `watching`: drained. */
  #state: 'awake' | 'hot' | 'watching' | 'closed' = 'awake';
  #hotMs = HOT_MS_MAX;
  #drainedAt = 0;

  constructor(libc: Libc, fd: number, wake: () => void) {
    this.#libc = libc;
    this.#wake = wake;
    this.#pollfd = new Struct(libc, 8); // struct pollfd: i32 fd, i16 events, i16 revents
    this.#pollfd.dv.setInt32(0, fd, true);
    this.#pollfd.dv.setInt16(4, POLLIN, true);
    this.#watch = libc.watch(fd);
    this.#startWatch();
  }

  /**
   * To be called when a read found nothing: `wake` follows once there is something again.
   * @param bytes - what was read since the last call
   */
  drained(bytes: number): void {
    if (this.#state !== 'awake') return;
    this.#drainedAt = performance.now();
    if (bytes > HOT_BYTES_MAX || this.#hotMs < HOT_MS_MIN) {
      this.#startWatch();
    } else {
      this.#state = 'hot';
      setImmediate(this.#spin);
    }
  }

  /** Whether waiting alone keeps the process alive; it does at first. */
  keepAlive(alive: boolean): void {
    if (this.#state === 'closed') return;
    if (alive) this.#watch.ref();
    else this.#watch.unref();
  }

  /** Ends waiting; must come before the descriptor is closed. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#watch.close();
  }

  #turn(): void {
    if (this.#state !== 'hot') return;
    if (this.#libc.poll(this.#pollfd.address, 1, 0) !== 0) {
      this.#hotMs = HOT_MS_MAX;
      this.hotWakes++;
      this.#state = 'awake';
      this.#wakeUp();
    } else if (performance.now() - this.#drainedAt < this.#hotMs) {
      setImmediate(this.#spin);
    } else {
      this.#hotMs /= 2;
      this.#startWatch();
    }
  }

  #startWatch(): void {
    this.#state = 'watching';
    this.#watch.start(this.#readable);
  }

  #fired(): void {
    if (this.#state !== 'watching') return;
    this.#state = 'awake';
    this.#watch.stop(); // level-triggered: it would fire every turn until drained
    if (performance.now() - this.#drainedAt < HOT_MS_MAX) this.#hotMs = HOT_MS_MAX;
    // The loop's callback runs outside Node's own: promises settled in it would wait for the next one.
    setImmediate(this.#report);
  }

  #wakeUp(): void {
    if (this.#state === 'closed') return;
    this.wakes++;
    this.#wake();
  }
}
