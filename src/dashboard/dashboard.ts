import type { AccessPolicy } from '../access/policy.js';
import { statusOf } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { Store } from '../contract/store.js';
import { assertOptions, invalidOption, OBJECT, type OptionCheck } from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { admitsOperator, refuseOperator } from '../handler/operator-access.js';
import { answerError, answerReply } from '../handler/reply.js';
import type { Counting, HandlerStats } from '../handler/stats.js';
import { jsonReply, type Reply, type ReplyBody } from '../protocols/protocol.js';
import type { ServerStats } from '../server/stats.js';
import { LATENCY_BOUNDS_SECONDS } from '../util/histogram.js';
import { asset } from './assets.js';
import { Downloads } from './downloads.js';
import { Residency } from './residency.js';
import { Viewers } from './viewers.js';

/** What {@link createDashboard} takes. */
export interface DashboardOptions {
  /** Whose responses are shown. */
  readonly handler: Counting<HandlerStats>;
  /** Made by `createServer`. Default: none, and no connections are shown. */
  readonly server?: Counting<ServerStats> | undefined;
  /** What is shown of it is what it can tell: see `Store.list` and `Store.stats`. Default: none. */
  readonly store?: Pick<Store, 'list' | 'stats'> | undefined;
  /**
   * Who may look: whoever may read, as protocol `hotblob`. A browser asks for user and password; the password is the
   * token. Default: everybody may.
   */
  readonly access?: AccessPolicy | undefined;
  /**
   * Where the page is, with a slash at its end. A framework that mounts it below a path removes that, so that it is `/`
   * there. Default: `/_hotblob/`.
   */
  readonly path?: string | undefined;
}

/** A page that shows what a handler does while it does it. Mounted like a handler; what is not its own it leaves alone. */
export interface Dashboard extends ExchangeHandler {
  /** Ends the streams of those who look: before the server closes, which would wait for them. */
  close(): void;
}

/** Nothing but what the package brings, and nobody may put it into a frame. */
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

const COUNTING: OptionCheck = {
  expected: 'something with stats()',
  accepts: (value) => OBJECT.accepts(value) && typeof (value as { stats?: unknown }).stats === 'function',
};

const CHECKS: Readonly<Record<keyof DashboardOptions, OptionCheck>> = {
  handler: COUNTING,
  server: COUNTING,
  store: OBJECT,
  access: { expected: 'a function', accepts: (value) => typeof value === 'function' },
  path: {
    expected: 'a path that starts and ends with "/"',
    accepts: (value) => typeof value === 'string' && /^\/(?:[^?#]*\/)?$/.test(value),
  },
};

/**
 * Makes a page that shows live what a handler sends, from where, how fast, and how short memory is, and which artifacts of
 * a store are in the page cache. Nothing is measured, and no timer runs, until somebody looks.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createDashboard(options: DashboardOptions): Dashboard {
  assertOptions(options, CHECKS);
  if (options.handler === undefined) throw invalidOption('handler', COUNTING.expected, undefined);
  return new LivePage(options);
}

class LivePage implements Dashboard {
  readonly #path: string;
  readonly #access: AccessPolicy | undefined;
  readonly #downloads: Downloads;
  readonly #residency: Residency;
  readonly #viewers: Viewers;

  constructor({ handler, server, store = {}, access, path = '/_hotblob/' }: DashboardOptions) {
    this.#path = path;
    this.#access = access;
    this.#downloads = new Downloads(handler);
    this.#residency = new Residency(store, this.#downloads);
    this.#viewers = new Viewers(() => ({
      time: Date.now(),
      handler: handler.stats(),
      server: server?.stats(),
      store: store.stats?.(),
    }));
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const [path = '', query] = exchange.url.split('?', 2);
    if (`${path}/` === this.#path) {
      answerReply(exchange, { status: 308, headers: { location: this.#path } });
      return true;
    }
    if (!path.startsWith(this.#path)) return false;
    const answer = this.#answerOf(path.slice(this.#path.length), query);
    if (answer === undefined) return false;
    try {
      if (exchange.method !== 'GET' && exchange.method !== 'HEAD') {
        refuseOperator(exchange, 405, { allow: 'GET, HEAD' });
      } else if (await admitsOperator(exchange, this.#access)) {
        this.#downloads.listen();
        await answer(exchange);
      }
    } catch (error) {
      if (exchange.headersSent) exchange.destroy(new Error('the page has failed', { cause: error }));
      else answerError(exchange, statusOf(error));
    }
    return true;
  }

  close(): void {
    this.#viewers.close();
    this.#downloads.close();
  }

  #answerOf(name: string, query: string | undefined): ((exchange: Exchange) => Promise<void>) | undefined {
    switch (name) {
      case 'events':
        return (exchange) => this.#viewers.add(exchange, { bounds: LATENCY_BOUNDS_SECONDS });
      case 'residency.json':
        return async (exchange) => answerReply(exchange, found(await this.#residency.map()));
      case 'artifact.json': {
        const key = new URLSearchParams(query).get('key') ?? '';
        return async (exchange) => answerReply(exchange, found(await this.#residency.pagesOf(key)));
      }
      default: {
        const file = asset(name);
        return file && (async (exchange) => answerReply(exchange, page(await file)));
      }
    }
  }
}

function page(body: ReplyBody): Reply {
  return { status: 200, headers: PAGE_HEADERS, body };
}

function found(value: object | undefined): Reply {
  return value === undefined ? jsonReply(404, { message: 'There is nothing here.' }) : jsonReply(200, value);
}
