import { ALLOWED_HOSTS } from '../access/hosts.js';
import type { AccessPolicy } from '../access/policy.js';
import { statusOf } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import { isKey, type Store, type StoreStats } from '../contract/store.js';
import {
  assertNoInstance,
  assertOptions,
  FLAG,
  invalidOption,
  OBJECT,
  type OptionCheck,
  STATS_SOURCE,
} from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { OperatorAccess } from '../handler/operator-access.js';
import { answerError, answerReply } from '../handler/reply.js';
import type { HandlerStats, StatsSource } from '../handler/stats.js';
import { jsonReply, type Reply } from '../protocols/protocol.js';
import type { ServerStats } from '../server/stats.js';
import { LATENCY_BOUNDS_SECONDS } from '../util/histogram.js';
import { loadAsset } from './assets.js';
import { Downloads } from './downloads.js';
import { Residency } from './residency.js';
import { type ProcessStatsSource, Statistics } from './statistics.js';
import { Viewers } from './viewers.js';

/** Options of {@link createDashboard}. */
export interface DashboardOptions {
  /** Handler (or sender) whose responses are shown. */
  readonly handler: StatsSource<HandlerStats>;
  /** Server, made by `createServer`, whose connections are shown. Default: none. */
  readonly server?: StatsSource<ServerStats> | undefined;
  /**
   * Store whose artifacts and counters are shown. The residency map needs `list`, the counters need `stats`, and
   * the removal of artifacts needs `delete`. Default: none.
   */
  readonly store?: (Pick<Store, 'list' | 'delete'> & Partial<StatsSource<StoreStats>>) | undefined;
  /**
   * Whether clients with write access can remove artifacts, if the store has `delete`. Without `access`, every client that can open the
   * page has it. Default: true if `access` is set.
   */
  readonly removal?: boolean | undefined;
  /** Measurements of each process: the member `processes` of `clusterStats()`. Default: those of this process. */
  readonly processes?: ProcessStatsSource | undefined;
  /**
   * Facts about the server that the page shows in its header, by name, such as `{ version: '1.0', store: 'segments' }`. Every client with
   * read access sees them. Default: none.
   */
  readonly about?: Readonly<Record<string, string>> | undefined;
  /**
   * Access policy. The dashboard calls it with the protocol `hotblob` and requires read access. A browser asks the user
   * for a user name and a password; the password is the token. Default: no authentication.
   */
  readonly access?: AccessPolicy | undefined;
  /**
   * Host names that requests may be for, like the option of a handler. Default: `localhost` and the like on connections to a
   * loopback address, and all on other connections. If `access` is set, requests with credentials may be for any host.
   */
  readonly allowedHosts?: readonly string[] | undefined;
  /**
   * Path of the page. It ends with a slash. If a framework mounts the dashboard and strips the mount path, use `/`.
   * Default: `/_hotblob/`.
   */
  readonly path?: string | undefined;
}

/**
 * Web page with live statistics of a handler. It is mounted like a handler. `handle` resolves to `false` for a request
 * whose path is not below `path`.
 */
export interface Dashboard extends ExchangeHandler {
  /**
   * Ends the event streams of open pages, and the recording of the history. Call it before `close` of the server, which waits for these
   * streams.
   */
  close(): void;
}

/** Policy that allows only files of this package, and forbids embedding the page in a frame. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const PAGE_HEADERS = { 'content-security-policy': CONTENT_SECURITY_POLICY, 'referrer-policy': 'no-referrer' };

const CHECKS: Readonly<Record<keyof DashboardOptions, OptionCheck>> = {
  handler: STATS_SOURCE,
  server: STATS_SOURCE,
  store: OBJECT,
  processes: STATS_SOURCE,
  about: OBJECT,
  removal: FLAG,
  access: { expected: 'a function', accepts: (value) => typeof value === 'function' },
  allowedHosts: ALLOWED_HOSTS,
  path: {
    expected: 'a path that starts and ends with "/"',
    accepts: (value) => typeof value === 'string' && /^\/(?:[^?#]*\/)?$/.test(value),
  },
};

/**
 * Creates a web page with statistics: throughput, errors, latency, hit rate, memory pressure, and a map of the artifacts in the page
 * cache. It records an hour of statistics, with a timer that does not keep the process alive. With several processes, their parent
 * records the sums. Until the page is first opened, the dashboard records no downloads.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option or an invalid value
 */
export function createDashboard(options: DashboardOptions): Dashboard {
  assertNoInstance(options, '{ handler }');
  assertOptions(options, CHECKS);
  if (options.handler === undefined) throw invalidOption('handler', STATS_SOURCE.expected, undefined);
  return new LiveDashboard(options);
}

class LiveDashboard implements Dashboard {
  readonly #path: string;
  readonly #access: OperatorAccess;
  readonly #downloads: Downloads;
  readonly #residency: Residency;
  readonly #viewers: Viewers;
  readonly #statistics: Statistics;
  readonly #about: NonNullable<DashboardOptions['about']>;
  readonly #remove: ((key: string) => Promise<boolean>) | undefined;

  constructor(options: DashboardOptions) {
    const { handler, store = {}, access, allowedHosts, about = {}, path = '/_hotblob/' } = options;
    this.#path = path;
    this.#access = new OperatorAccess(access, allowedHosts);
    this.#downloads = new Downloads(handler.origin ?? handler);
    this.#residency = new Residency(store, this.#downloads);
    this.#about = { ...about };
    const { removal = access !== undefined } = options;
    if (removal && store.delete !== undefined) this.#remove = store.delete.bind(store);
    this.#statistics = new Statistics(options);
    this.#viewers = new Viewers(() => this.#statistics.collect());
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const [path = '', query] = exchange.url.split('?', 2);
    if (`${path}/` === this.#path) {
      // Relative, because a proxy or a framework may mount the dashboard below a path that this process does not see.
      const name = path.slice(path.lastIndexOf('/') + 1);
      answerReply(exchange, { status: 308, headers: { location: `./${name}/` } });
      return true;
    }
    if (!path.startsWith(this.#path)) return false;
    const page = this.#pageOf(path.slice(this.#path.length), query);
    if (page === undefined) return false;
    try {
      if (!(await this.#access.admits(exchange, page.needs))) return true;
      this.#downloads.listen();
      await page.respond(exchange);
    } catch (error) {
      if (exchange.headersSent) exchange.destroy(new Error('the dashboard failed', { cause: error }));
      else answerError(exchange, statusOf(error));
    }
    return true;
  }

  close(): void {
    this.#viewers.close();
    this.#downloads.close();
    this.#statistics.close();
  }

  #pageOf(name: string, query: string | undefined): Page | undefined {
    const key = (): string => new URLSearchParams(query).get('key') ?? '';
    switch (name) {
      case 'events':
        return read((exchange) => this.#viewers.add(exchange, { bounds: LATENCY_BOUNDS_SECONDS, about: this.#about }));
      case 'history.json':
        return read(async (exchange) => {
          const seconds = Number(new URLSearchParams(query).get('seconds'));
          answerReply(exchange, jsonOr404(await this.#statistics.read(seconds), 'There is no history.'));
        });
      case 'residency.json':
        return read(async (exchange) =>
          answerReply(exchange, jsonOr404(await this.#residency.map(), 'The store cannot be listed.')),
        );
      case 'artifact.json':
        return read(async (exchange) => {
          const details = await this.#residency.detailsOf(key());
          const isRemovable = this.#remove !== undefined && (await this.#access.mayWrite(exchange));
          answerReply(exchange, jsonOr404(details && { ...details, isRemovable }, 'Not found.'));
        });
      case 'remove':
        return { needs: 'write', respond: (exchange) => this.#answerRemoval(exchange, key()) };
      default: {
        const file = loadAsset(name);
        return (
          file &&
          read(async (exchange) => answerReply(exchange, { status: 200, headers: PAGE_HEADERS, body: await file }))
        );
      }
    }
  }

  async #answerRemoval(exchange: Exchange, key: string): Promise<void> {
    if (this.#remove === undefined) {
      answerReply(exchange, jsonReply(403, { message: 'Artifacts cannot be removed on this page.' }));
      return;
    }
    const isRemoved = isKey(key) && (await this.#remove(key));
    this.#residency.invalidate();
    answerReply(exchange, jsonOr404(isRemoved ? { message: 'Removed.' } : undefined, 'Not found.'));
  }
}

/** Page below the path of the dashboard. */
interface Page {
  /** Access that it needs. `write` is for POST only. */
  readonly needs: 'read' | 'write';
  respond(exchange: Exchange): Promise<unknown>;
}

function read(respond: Page['respond']): Page {
  return { needs: 'read', respond };
}

function jsonOr404(value: object | undefined, message: string): Reply {
  return value === undefined ? jsonReply(404, { message }) : jsonReply(200, value);
}
