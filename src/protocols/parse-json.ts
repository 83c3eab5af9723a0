import { pause } from '../util/loop-slices.js';

/** Maximum number of values in a text, so that JSON.parse takes a few milliseconds at most. */
const MAX_VALUES = 25_000;
/** Maximum depth of arrays and objects. Deep values take JSON.parse ten times as long as others. */
const MAX_DEPTH = 64;
/** Number of bytes that are examined between two calls of {@link pause}. */
const SLICE_BYTES = 64 * 1024;

/**
 * Resolves to the value of a JSON text in UTF-8. The values are counted before the text is parsed, because JSON.parse
 * cannot be interrupted: 1 MiB of brackets would block the event loop for 50 to 90 ms.
 *
 * @throws RangeError if the text has more than 25,000 values, or more than 64 levels of arrays and objects
 * @throws SyntaxError if the text is not JSON
 * @throws TypeError if the text is not UTF-8
 */
export async function parseJson(bytes: Buffer): Promise<unknown> {
  await pause();
  let values = 1;
  let depth = 0;
  let isString = false;
  let nextPause = SLICE_BYTES;
  for (let at = 0; at < bytes.byteLength; at++) {
    // An escape skips a byte, so that not each position is examined.
    if (at >= nextPause) {
      nextPause = at + SLICE_BYTES;
      await pause();
    }
    switch (bytes[at]) {
      case 0x22: // "
        isString = !isString;
        break;
      case 0x5c: // \: the next byte belongs to the string
        if (isString) at++;
        break;
      case 0x2c: // ,
        if (!isString) values++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (isString) break;
        values++;
        if (++depth > MAX_DEPTH) throw new RangeError(`JSON: expected at most ${MAX_DEPTH} levels`);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        if (!isString) depth--;
    }
    if (values > MAX_VALUES) throw new RangeError(`JSON: expected at most ${MAX_VALUES} values`);
  }
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  await pause();
  return value;
}
