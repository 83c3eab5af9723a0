/** Selects artifacts by their keys. An artifact matches if it matches all members that are given. */
export interface ArtifactFilter {
  /** Scope, or a pattern in which `*` stands for any text, also with slashes, such as `pr/*`. Default: all scopes. */
  readonly scope?: string | undefined;
  /** Namespace, or a pattern with `*`. Artifacts without a namespace match no pattern. Default: all artifacts. */
  readonly namespace?: string | undefined;
  /** Name of a protocol of this package; `plain` for keys of other protocols. Default: all protocols. */
  readonly protocol?: string | undefined;
}

/** Selects the artifacts that `purge` of a store deletes. Without a member, it matches all artifacts. */
export interface PurgeFilter extends ArtifactFilter {
  /**
   * Matches artifacts whose last use or upload, as `list` of the store reports it, was before this time. An artifact whose last use
   * is not known does not match. Default: all artifacts.
   */
  readonly usedBefore?: Date | undefined;
}

/** Options of `purge` of a store. */
export interface PurgeOptions {
  /** Whether to count the artifacts without deleting them. Default: false. */
  readonly dryRun?: boolean | undefined;
  /** Stops the purge. The promise rejects with its reason when nothing more is deleted. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Called several times a second at most. If it throws, the purge stops. Default: none. */
  readonly onProgress?: ((progress: PurgeProgress) => void) | undefined;
}

/** Result of `purge` of a store. */
export interface PurgeResult {
  /** Number of artifacts deleted; in a dry run, of those that would be. */
  readonly artifacts: number;
  /** Sum of their sizes in bytes. */
  readonly bytes: number;
}

/** Progress of a purge. */
export interface PurgeProgress extends PurgeResult {
  /** Number of artifacts compared with the filter so far. */
  readonly scanned: number;
}
