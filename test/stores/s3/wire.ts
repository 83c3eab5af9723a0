import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Transform } from 'node:stream';

/** A request as it came by. */
export interface Seen {
  /** Such as `GET`, `PUT part 2`, `POST uploads`: the method, and what S3 is asked for beyond it. */
  readonly what: string;
  /** Decoded, without the bucket. */
  readonly key: string;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the body that have come so far. */
  bodyBytes: number;
  /** Whether the connection was closed before the answer was out. */
  isCutByClient: boolean;
  /** Whether the answer is out, or the request has ended otherwise. */
  isOver: boolean;
}

/** What happens to a request. Undefined: it goes to the service, and the answer comes back. */
export type Fault =
  /** Answered here, in the way of S3. */
  | { readonly answer: number; readonly code?: string; readonly xml?: string }
  /** Answered here, in the way of a load balancer. */
  | { readonly html: number }
  /** The connection is reset after so many bytes of the answer's body. */
  | { readonly cutAnswerAt: number }
  /** Nothing comes any more after so many bytes of the answer's body. */
  | { readonly silentAnswerAt: number }
  /** The answer's body ends, as if it were whole, after so many bytes. */
  | { readonly endAnswerAt: number }
  /** The connection is reset after so many bytes of the request's body. */
  | { readonly cutRequestAt: number }
  /** The service does what it is told, and nobody hears of it. */
  | { readonly loseAnswer: true }
  /** It is never answered. */
  | { readonly ignore: true }
  /** The service is not told of the range. */
  | { readonly noRange: true }
  /** Its body takes so many milliseconds for each of the first 16 half MiB. */
  | { readonly slowRequestMs: number }
  /** It goes on when this has resolved. */
  | { readonly after: Promise<unknown> };

/** What goes by between a store and the service, and goes wrong where a test says so. */
export class Wire {
  readonly seen: Seen[] = [];
  /** Asked about each request. */
  fault: (seen: Seen) => Fault | undefined = () => undefined;
  /** Whether a key is read and written by one request at a time, and wholly: so does S3, where s3rver writes in place. */
  isAtomic = false;
  readonly #turns = new Map<string, Promise<void>>();
  readonly #server: http.Server;
  readonly #agent = new http.Agent({ keepAlive: true });
  readonly #target: number;

  /** `target` is the service's port. */
  static async start(target: number): Promise<Wire> {
    const wire = new Wire(target);
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    return wire;
  }

  private constructor(target: number) {
    this.#target = target;
    this.#server = http.createServer((request, response) => void this.#serve(request, response));
  }

  get endpoint(): string {
    // a server that listens on a port has an address of this kind
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What was asked so far, in order. */
  get asked(): string[] {
    return this.seen.map(({ what }) => what);
  }

  /** Forgets what was seen. */
  clear(): void {
    this.seen.length = 0;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = this.#see(request);
    response.on('close', () => {
      seen.isOver = true;
      seen.isCutByClient = !response.writableFinished;
    });
    response.on('error', () => {});
    request.on('error', () => {});
    const fault = this.fault(seen);
    if (fault === undefined && this.isAtomic && !seen.what.includes('part')) {
      const before = this.#turns.get(seen.key) ?? Promise.resolve();
      const turn = before.then(() => this.#passWhole(request, response, seen));
      this.#turns.set(seen.key, turn);
      return turn;
    }
    if (fault === undefined) return this.#pass(request, response, seen);
    if ('after' in fault) {
      await fault.after;
      return this.#pass(request, response, seen);
    }
    if ('cutRequestAt' in fault) {
      request.on('data', (chunk: Buffer) => {
        seen.bodyBytes += chunk.byteLength;
        if (seen.bodyBytes >= fault.cutRequestAt) request.socket.resetAndDestroy();
      });
      return;
    }
    if ('noRange' in fault) {
      delete request.headers.range;
      return this.#pass(request, response, seen);
    }
    if ('slowRequestMs' in fault) return this.#pass(request, response, seen, undefined, fault.slowRequestMs);
    if ('cutAnswerAt' in fault || 'silentAnswerAt' in fault || 'endAnswerAt' in fault || 'loseAnswer' in fault) {
      return this.#pass(request, response, seen, fault);
    }
    request.on('data', (chunk: Buffer) => {
      seen.bodyBytes += chunk.byteLength;
    });
    if ('ignore' in fault) return;
    await once(request, 'end');
    if ('html' in fault) {
      response.writeHead(fault.html, { 'content-type': 'text/html' }).end('<html><body>Bad gateway</body></html>');
      return;
    }
    const { answer, code = 'Unknown', xml = '' } = fault;
    answerError(response, answer, code, xml);
  }

  #see(request: IncomingMessage): Seen {
    const url = new URL(request.url ?? '/', 'http://s3');
    const part = url.searchParams.get('partNumber');
    const more = part ? ` part ${part}` : ['uploads', 'uploadId'].filter((each) => url.searchParams.has(each)).join('');
    const seen: Seen = {
      what: `${request.method}${part || more === '' ? more : ` ${more}`}`,
      key: decodeURIComponent(url.pathname.slice(1).replace(/^[^/]*\//, '')),
      headers: { ...request.headers },
      bodyBytes: 0,
      isCutByClient: false,
      isOver: false,
    };
    this.seen.push(seen);
    return seen;
  }

  /** Resolves when the service is done with it; the answer is in memory then, however slowly it is taken. */
  #passWhole(request: IncomingMessage, response: ServerResponse, seen: Seen): Promise<void> {
    return new Promise((resolve) => {
      if (response.destroyed) {
        resolve();
        return;
      }
      const outgoing = this.#forward(request, response, seen);
      outgoing.on('close', resolve);
      outgoing.on('response', (incoming) => {
        // It announces a byte of an empty object, which never comes.
        if (incoming.headers['content-range']?.endsWith('/0')) {
          outgoing.destroy();
          answerError(response, 416, 'InvalidRange');
          return;
        }
        const chunks: Buffer[] = [];
        incoming.on('error', () => response.destroy());
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          response.writeHead(incoming.statusCode ?? 0, incoming.headers).end(Buffer.concat(chunks));
        });
      });
    });
  }

  #forward(request: IncomingMessage, response: ServerResponse, seen: Seen, slowMs?: number): http.ClientRequest {
    const { method, url, headers } = request;
    const target = { port: this.#target, host: '127.0.0.1', agent: this.#agent };
    const outgoing = http.request({ ...target, method, path: url, headers });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    request.on('data', (chunk: Buffer) => {
      seen.bodyBytes += chunk.byteLength;
    });
    (slowMs === undefined ? request : request.pipe(slowed(slowMs))).pipe(outgoing);
    return outgoing;
  }

  #pass(
    request: IncomingMessage,
    response: ServerResponse,
    seen: Seen,
    fault?: BrokenAnswer | { readonly loseAnswer: true },
    slowMs?: number,
  ): void {
    const outgoing = this.#forward(request, response, seen, slowMs);
    outgoing.on('response', (incoming) => {
      incoming.on('error', () => response.destroy());
      if (fault !== undefined && 'loseAnswer' in fault) {
        incoming.resume().on('end', () => response.socket?.resetAndDestroy());
        return;
      }
      const shortened = fault !== undefined && 'endAnswerAt' in fault ? { 'content-length': fault.endAnswerAt } : {};
      response.writeHead(incoming.statusCode ?? 0, { ...incoming.headers, ...shortened }).flushHeaders();
      if (fault === undefined) incoming.pipe(response);
      else incoming.pipe(brokenOff(fault, () => response.socket?.resetAndDestroy())).pipe(response);
    });
  }
}

function answerError(response: ServerResponse, status: number, code: string, xml = ''): void {
  response.writeHead(status, { 'content-type': 'application/xml', 'x-amz-request-id': 'REQUEST7' });
  const error = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message>${xml}</Error>`;
  response.end(response.req.method === 'HEAD' ? undefined : error);
}

function slowed(milliseconds: number): Transform {
  const step = 512 * 1024;
  let steps = 0;
  let passed = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      passed += chunk.byteLength;
      if (passed < step || steps === 16) {
        callback(null, chunk);
        return;
      }
      passed = 0;
      steps++;
      setTimeout(callback, milliseconds, null, chunk);
    },
  });
}

type BrokenAnswer = Extract<Fault, { cutAnswerAt: number } | { silentAnswerAt: number } | { endAnswerAt: number }>;

function brokenOff(fault: BrokenAnswer, cut: () => void): Transform {
  const [[kind, length] = ['', 0]] = Object.entries(fault);
  let passed = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const rest = length - passed;
      passed += chunk.byteLength;
      if (chunk.byteLength < rest) {
        callback(null, chunk);
        return;
      }
      this.push(chunk.subarray(0, rest));
      // A turn later, so that the bytes before it are out. Silence is a callback that is never called.
      if (kind === 'cutAnswerAt') setTimeout(cut, 20);
      if (kind === 'endAnswerAt') this.push(null);
    },
  });
}
