import { readFileSync } from 'node:fs';

/**
 * Returns whether mincore(2) reports the pages of a file correctly. Since Linux 5.2, mincore reports every page as
 * resident if the caller neither owns the file nor may write to it (mm/mincore.c, can_do_mincore), so that users cannot
 * observe each other. Returns true only for the owner of the file: file modes do not show who may write, because of
 * read-only file systems, overlays and access control lists.
 */
export function canTrustMincore(file: { readonly uid: bigint }): boolean {
  const { uid, ownsEverything } = identity();
  return ownsEverything || file.uid === uid;
}

interface Identity {
  readonly effectiveUid: number | undefined;
  readonly uid: bigint;
  readonly ownsEverything: boolean;
}

let cached: Identity | undefined;

// Servers start as root and drop privileges later. The cached identity is valid until the effective user changes.
function identity(): Identity {
  const effectiveUid = process.geteuid?.();
  if (cached === undefined || cached.effectiveUid !== effectiveUid) {
    const uid = BigInt(effectiveUid ?? -1);
    cached = {
      effectiveUid,
      uid,
      ownsEverything: uid === 0n && isInInitialUserNamespace() && hasFowner(),
    };
  }
  return cached;
}

// Root of another user namespace has no privileges for files whose owner is not mapped into that namespace
// (user_namespaces(7)).
function isInInitialUserNamespace(): boolean {
  try {
    return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch {
    return false;
  }
}

// A process with CAP_FOWNER counts as the owner of every file (capabilities(7)). Root in a container often has no
// capabilities.
function hasFowner(): boolean {
  try {
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    return effective !== undefined && (BigInt(`0x${effective}`) & CAP_FOWNER) !== 0n;
  } catch {
    return false;
  }
}

const CAP_FOWNER = 1n << 3n;
