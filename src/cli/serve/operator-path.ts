/** Path prefix of the pages for operators. */
export const OPERATOR_PATH = '/_hotblob/';

/** Whether a URL is below {@link OPERATOR_PATH}, or is this path without the slash at its end. */
export function isOperatorPath(url: string): boolean {
  return url.startsWith('/_hotblob') && /^\/_hotblob(?:[/?]|$)/.test(url);
}
