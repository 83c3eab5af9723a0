import { runLoad } from './children.js';

/** What a load generator has seen. */
export interface Load {
  readonly succeeded: number;
  readonly failed: number;
  readonly seconds: number;
}

const PATIENCE_SECONDS = 60;

/** wrk: HTTP/1.1, as many requests as fit into `seconds`. `headers` are whole lines. */
export async function wrk(
  url: string,
  connections: number,
  seconds: number,
  headers: readonly string[] = [],
): Promise<Load> {
  const fields = headers.flatMap((header) => ['-H', header]);
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', ...fields, url];
  const text = await runLoad('wrk', args, (seconds + PATIENCE_SECONDS) * 1000);
  const [, requests, amount, unit = 's'] = /(\d+) requests in ([\d.]+)(us|ms|s|m),/.exec(text) ?? [];
  if (requests === undefined) throw new Error(`wrk said: ${text}`);
  const [, refused = 0] = /Non-2xx or 3xx responses: (\d+)/.exec(text) ?? [];
  const broken = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)?.slice(1) ?? [];
  return {
    succeeded: Number(requests) - Number(refused),
    failed: broken.reduce((sum, count) => sum + Number(count), Number(refused)),
    seconds: Number(amount) * secondsOf(unit),
  };
}

/** h2load: HTTP/2 without TLS, `requests` of them over `clients` connections with `streams` each. */
export async function h2load(url: string, requests: number, clients: number, streams: number): Promise<Load> {
  // Without -T it waits forever for a session that stalls.
  const args = [`-n${requests}`, `-c${clients}`, `-m${streams}`, '-t1', '-T', `${PATIENCE_SECONDS}s`, url];
  const text = await runLoad('h2load', args, 2 * PATIENCE_SECONDS * 1000);
  const [, amount, unit = 's'] = /finished in ([\d.]+)(us|ms|s|m|h),/.exec(text) ?? [];
  const [, total, succeeded] = /requests: (\d+) total, .* (\d+) succeeded,/.exec(text) ?? [];
  if (amount === undefined || total === undefined) throw new Error(`h2load said: ${text}`);
  return {
    succeeded: Number(succeeded),
    failed: Number(total) - Number(succeeded),
    seconds: Number(amount) * secondsOf(unit),
  };
}

/** h2load for about `seconds`: each load of a URL, the first of `firstRequests`, says how many fit into its next one. */
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

/** The same load again and again, counted as one. */
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
