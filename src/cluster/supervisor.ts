import cluster from 'node:cluster';
import { setTimeout as setTimeoutAsync } from 'node:timers/promises';
import { messageOf } from '../util/report-event.js';
import { Backoff } from './backoff.js';
import { Child } from './child.js';
import { errorFields, type FromProcess, type PortRequest } from './messages.js';
import { SharedPorts } from './shared-ports.js';
import { StatsHub } from './stats-hub.js';

/** Time in milliseconds from the shutdown timeout until a process is killed. In this time, it can close its store. */
export const MARGIN_MS = 10_000;

/** Options of {@link Supervisor}. */
export interface SupervisorOptions {
  /** Number of processes. */
  readonly processes: number;
  readonly shutdownTimeoutMs: number;
  /** Receives a line for each process that ends unexpectedly, or that cannot start. */
  onProblem(line: string): void;
  /** Receives the values that processes send with `notify`. */
  onNotice(data: unknown, pid: number): void;
}

/** Place of a process. When the process ends or is replaced, its successor takes the same place. */
interface Place {
  readonly number: number;
  readonly backoff: Backoff;
  current: Child | undefined;
  /** Process that starts in order to replace `current`. */
  successor: Child | undefined;
  /** Ends the wait for another attempt to start a process; `undefined` if nothing waits. */
  retry: (() => void) | undefined;
  /** Whether a restart has been requested after the process that is starting may have read its files. */
  isOutdated: boolean;
}

/** Result of the replacement of a process. `later`: the place has no process, or replaces it already. */
type Succession = 'replaced' | 'failed' | 'later';

/** Starts the processes, replaces those that end, and restarts and stops them. */
export class Supervisor {
  readonly ports = new SharedPorts();
  readonly #options: SupervisorOptions;
  readonly #places: readonly Place[];
  /** All processes that have not ended. */
  readonly #children = new Set<Child>();
  readonly #stats = new StatsHub();
  readonly #stopping = new AbortController();
  #restart: Promise<number> | undefined;
  #isRestartRequested = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.processes }, (_, number) => ({
      number,
      backoff: new Backoff(),
      current: undefined,
      successor: undefined,
      retry: undefined,
      isOutdated: false,
    }));
    // Without `silent`, the lines of the processes would mix. Statistics can contain Infinity, which JSON does not support.
    cluster.setupPrimary({ silent: true, serialization: 'advanced' });
  }

  /** Process ids of the processes that have not ended. */
  get pids(): number[] {
    return Array.from(this.#children, ({ pid }) => pid);
  }

  /**
   * Starts the processes. The others wait until the first one serves, so that a mistake in the options is reported once. Resolves to
   * the `info` of the first one.
   *
   * @throws the error of a process that cannot start; the others are killed
   */
  async start(): Promise<unknown> {
    try {
      const [first, ...others] = this.#places;
      const info = await this.#begin(first as Place, true); // there is at least one
      await Promise.all(others.map((place) => this.#begin(place, false)));
      return info;
    } catch (error) {
      this.kill();
      await Promise.all(Array.from(this.#children, ({ ended }) => ended));
      throw error;
    }
  }

  /**
   * Replaces the processes one after the other. When a successor serves, its predecessor completes its requests and ends. If a
   * successor cannot start, the remaining processes are kept. Resolves to the number of processes that have been replaced.
   */
  restart(): Promise<number> {
    this.#isRestartRequested = true;
    this.#restart ??= this.#restartAll().finally(() => {
      this.#restart = undefined;
    });
    return this.#restart;
  }

  /** Lets the requests of all processes complete. Resolves when they have ended, after a {@link restart} in progress. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(Array.from(this.#children, (child) => this.#close(child, 'shutdown')));
    await this.#restart;
    this.ports.close();
  }

  /** Kills all processes. */
  kill(): void {
    this.#stopping.abort();
    for (const child of this.#children) child.kill();
    this.ports.close();
  }

  async #begin(place: Place, isFirst: boolean): Promise<unknown> {
    const child = this.#fork(place, isFirst);
    const info = await child.started;
    place.current = child;
    return info;
  }

  #fork(place: Place, isFirst = false): Child {
    const child: Child = new Child(place.number, (_, message) => {
      if (message.type === 'hello') child.send({ type: 'start', processes: this.#children.size, isFirst });
      else this.#receive(child, message);
    });
    this.#children.add(child);
    this.#announceCount();
    void child.ended.then((reason) => {
      this.#children.delete(child);
      child.leaveConnections([...this.#children].find(({ isServing, isClosing }) => isServing && !isClosing));
      this.#stats.retire(child);
      this.#announceCount();
      // No successor starts, so connections go to the processes that still drain.
      if (this.#isStopping) this.ports.release(place.number);
      if (place.current !== child) return;
      place.current = undefined;
      if (!child.isClosing) void this.#recover(place, `process ${child.pid} ended (${reason})`, child.servedMs);
    });
    return child;
  }

  #announceCount(): void {
    for (const child of this.#children) child.send({ type: 'count', processes: this.#children.size });
  }

  #receive(child: Child, message: FromProcess): void {
    switch (message.type) {
      case 'listen':
        void this.#sharePort(child, message.id, message.request);
        break;
      case 'leave':
        void this.#replaceLeaving(child);
        break;
      case 'stats':
      case 'totals':
      case 'history':
        this.#stats.receive(child, message, this.#children);
        break;
      case 'notice':
        this.#options.onNotice(message.data, child.pid);
        break;
    }
  }

  async #sharePort(child: Child, id: number, request: PortRequest): Promise<void> {
    try {
      const address = await this.ports.reserve(request);
      child.answerPort(id, address, this.ports.socketOf(child.place, request, address));
    } catch (error) {
      child.answerPort(id, errorFields(error));
    }
  }

  /** Starts processes in a place that has none, until one serves. */
  async #recover(place: Place, firstProblem: string, firstServedMs: number): Promise<void> {
    let problem = firstProblem;
    let servedMs = firstServedMs;
    while (!this.#isStopping) {
      if (place.successor !== undefined) return this.#options.onProblem(`${problem}; its successor is starting`);
      const delayMs = place.backoff.next(servedMs);
      const action = delayMs === 0 ? 'starting another' : `starting another in ${delayMs / 1000} s`;
      this.#options.onProblem(`${problem}; ${action}`);
      if (delayMs > 0) await this.#wait(place, delayMs);
      if (this.#isStopping) return;
      place.isOutdated = false;
      const next = this.#fork(place);
      try {
        await next.started;
        place.current = next;
        if (place.isOutdated) await this.#succeed(place);
        return;
      } catch (error) {
        problem = `${next.name} could not start: ${messageOf(error)}`;
        servedMs = 0;
      }
    }
  }

  /** Waits before another attempt, which a restart begins at once. Meanwhile, new connections go to the other processes. */
  async #wait(place: Place, delayMs: number): Promise<void> {
    this.ports.release(place.number);
    const retry = new AbortController();
    place.retry = () => retry.abort();
    const signal = AbortSignal.any([this.#stopping.signal, retry.signal]);
    await setTimeoutAsync(delayMs, undefined, { signal }).catch(() => {}); // rejects if aborted
    place.retry = undefined;
  }

  async #restartAll(): Promise<number> {
    let count = 0;
    // A call during a restart causes another one, because files may have changed after a process has read them.
    while (this.#isRestartRequested && !this.#isStopping) {
      this.#isRestartRequested = false;
      count = 0;
      const killed = await this.#killUnresponsive();
      const results = await Promise.all(Array.from(killed, (place) => this.#succeed(place, true)));
      for (const place of this.#places) {
        if (results.includes('failed')) break;
        if (!killed.has(place)) results.push(await this.#succeed(place));
      }
      count = results.filter((result) => result === 'replaced').length;
    }
    return count;
  }

  /**
   * Kills the processes that do not respond, for example because they were stopped. Returns their places. A stopped writer keeps the
   * lock of its store, so no successor of another process could open the store.
   */
  async #killUnresponsive(): Promise<Set<Place>> {
    const killed = new Set<Place>();
    const check = async (place: Place): Promise<void> => {
      const { current } = place;
      if (current === undefined || (await current.responds(this.#killAfterMs)) || this.#isStopping) return;
      const action = `did not respond within ${this.#killAfterMs / 1000} s and was killed; starting another`;
      this.#options.onProblem(`process ${current.pid} ${action}`);
      current.kill();
      await current.ended;
      killed.add(place);
    };
    await Promise.all(this.#places.map(check));
    return killed;
  }

  async #replaceLeaving(child: Child): Promise<void> {
    const place = this.#places.find(({ current }) => current === child);
    // If the process is being replaced already, its successor serves soon.
    if (place !== undefined && place.successor === undefined && !child.isClosing) await this.#succeed(place);
  }

  /** Replaces the process of a place while it serves, or after {@link #killUnresponsive} has killed it. */
  async #succeed(place: Place, wasKilled = false): Promise<Succession> {
    if (this.#isStopping) return 'failed';
    const previous = place.current;
    if ((previous === undefined && !wasKilled) || place.successor !== undefined) {
      place.isOutdated = true;
      place.retry?.();
      return 'later';
    }
    place.isOutdated = false;
    const successor = this.#fork(place);
    place.successor = successor;
    try {
      await successor.started;
    } catch (error) {
      place.successor = undefined;
      if (this.#isStopping) return 'failed';
      const problem = `${successor.name} could not start: ${messageOf(error)}`;
      if (place.current === undefined) void this.#recover(place, problem, 0);
      else this.#options.onProblem(`${problem}; process ${place.current.pid} continues`);
      return 'failed';
    }
    place.successor = undefined;
    place.current = successor;
    if (previous !== undefined) await this.#close(previous, 'replaced');
    return place.isOutdated ? this.#succeed(place) : 'replaced';
  }

  #close(child: Child, reason: 'shutdown' | 'replaced'): Promise<void> {
    return child.close(reason, this.#killAfterMs);
  }

  /** Time in milliseconds after which a process is killed that has been asked to end, or to respond. */
  get #killAfterMs(): number {
    return this.#options.shutdownTimeoutMs + MARGIN_MS;
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }
}
