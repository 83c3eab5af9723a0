/**
 * Returns a copy of a string that shares no memory with other strings. In V8, a part of a string, such as a key from a URL, keeps
 * the whole string alive. The copy must be made where such a part is kept for long. The string must be well-formed.
 */
export function copyString(text: string): string {
  return Buffer.from(text).toString();
}
