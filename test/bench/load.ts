import { runLoad } from './children.js';

/** Result of a load generator. */
export interface Load {
  readonly succeeded: number;
  readonly failed: number;
  readonly seconds: number;
}

const TIMEOUT_SECONDS = 60;

/** Runs wrk (HTTP/1.1) for `seconds`. Each of `headers` is a complete header line. */
export async function wrk(
  url: string,
  connections: number,
  seconds: number,
  headers: readonly string[] = [],
): Promise<Load> {
  const fields = headers.flatMap((header) => ['-H', header]);
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', ...fields, url];
  const text = await runLoad('wrk', args, (seconds + TIMEOUT_SECONDS) * 1000);
  const [, requests, amount, unit = 's'] = /(\d+) requests in ([\d.]+)(us|ms|s|m),/.exec(text) ?? [];
  if (requests === undefined) throw new Error(`unexpected output of wrk: ${text}`);
  const [, refused = 0] = /Non-2xx or 3xx responses: (\d+)/.exec(text) ?? [];
  const broken = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)?.slice(1) ?? [];
  return {
    succeeded: Number(requests) - Number(refused),
    failed: broken.reduce((sum, count) => sum + Number(count), Number(refused)),
    seconds: Number(amount) * secondsOf(unit),
  };
}

/**
 * Runs h2load: `requests` in total, over `clients` connections with `streams` concurrent streams each.
 *
 * @param isHttp1 whether to use HTTP/1.1 instead of h2c; `streams` is then the number of pipelined requests
 */
export async function h2load(
  url: string,
  requests: number,
  clients: number,
  streams: number,
  isHttp1 = false,
): Promise<Load> {
  // Without -T, h2load waits forever for a stalled session.
  const args = [
    `-n${requests}`,
    `-c${clients}`,
    `-m${streams}`,
    '-t1',
    '-T',
    `${TIMEOUT_SECONDS}s`,
    ...(isHttp1 ? ['--h1'] : []),
    url,
  ];
  const text = await runLoad('h2load', args, 2 * TIMEOUT_SECONDS * 1000);
  const [, amount, unit = 's'] = /finished in ([\d.]+)(us|ms|s|m|h),/.exec(text) ?? [];
  const [, total, succeeded] = /requests: (\d+) total, .* (\d+) succeeded,/.exec(text) ?? [];
  if (amount === undefined || total === undefined) throw new Error(`unexpected output of h2load: ${text}`);
  return {
    succeeded: Number(succeeded),
    failed: Number(total) - Number(succeeded),
    seconds: Number(amount) * secondsOf(unit),
  };
}

/**
 * Returns a function that runs h2load for about `seconds`. The first run of a URL makes `firstRequests` requests. Later runs
 * adjust the number to the rate of the previous run.
 */
export function h2loadFor(
  seconds: number,
  firstRequests: number,
  clients: number,
  streams: number,
): (url: string) => Promise<Load> {
  const counts = new Map<string, number>();
  return async (url) => {
    const load = await h2load(url, counts.get(url) ?? firstRequests, clients, streams);
    const fitting = Math.ceil((load.succeeded / load.seconds) * seconds);
    counts.set(url, Math.max(clients * streams, fitting));
    return load;
  };
}

/** Runs a load several times, and returns the sum of the results. */
export async function repeated(times: number, load: () => Promise<Load>): Promise<Load> {
  const sum = { succeeded: 0, failed: 0, seconds: 0 };
  for (let time = 0; time < times; time++) {
    const { succeeded, failed, seconds } = await load();
    sum.succeeded += succeeded;
    sum.failed += failed;
    sum.seconds += seconds;
  }
  return sum;
}

function secondsOf(unit: string): number {
  return { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 }[unit] ?? Number.NaN;
}
