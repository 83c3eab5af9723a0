const ASCII = /^[\0-\x7f]*$/;

/**
 * Returns text that is the same for two names if a file system may take them for the same name. Some file systems ignore case
 * (`\u017f` is another case of `s`), normalize Unicode, or ignore characters that are invisible, such as the zero-width joiner.
 */
export function foldName(name: string): string {
  if (ASCII.test(name)) return name.toLowerCase();
  const visible = name.normalize('NFKD').replace(/\p{Default_Ignorable_Code_Point}/gu, '');
  // The upper case of a ligature has several letters.
  return visible.toUpperCase().toLowerCase();
}
