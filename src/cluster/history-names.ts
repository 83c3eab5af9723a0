/** Names that the application gave to the sources of a history. */
export interface HistoryNames {
  readonly handler: string;
  readonly server: string | undefined;
  readonly store: string | undefined;
}
