import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const URL_BYTES = 16 * 1024;

/** Returns key number `index` as a part of a long URL, which V8 keeps in memory as long as the key. */
export function keyInLongUrl(index: number): string {
  const key = `${index}`.padStart(40, '0');
  // From a buffer, so that the URL is one string and not a concatenation.
  const url = Buffer.from(`/${key}?`.padEnd(URL_BYTES, 'x')).toString();
  return url.slice(1, 1 + key.length);
}

/** Calls `use` with `count` keys from long URLs, and returns by how much the heap has grown, as a share of the URLs. */
export async function heapShareOfUrls(count: number, use: (key: string) => unknown): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index++) await use(keyInLongUrl(index));
  collect();
  return (process.memoryUsage().heapUsed - before) / (count * URL_BYTES);
}
