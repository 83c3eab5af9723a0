import { readFileSync } from 'node:fs';

/**
 * Whether mincore tells the truth about a file. Since Linux 5.2 it answers "resident" for every page of a file that the
 * caller neither owns nor may write (mm/mincore.c, can_do_mincore), so that it cannot be used to spy on others. Only the
 * owner is believed: that others may write is nothing that the mode tells, since the file system may be read-only, below
 * an overlay too, and access lists may say otherwise.
 */
export function canTrustMincore(file: { readonly uid: bigint }): boolean {
  const { uid, ownsEverything } = identity();
  return ownsEverything || file.uid === uid;
}

interface Identity {
  readonly uid: bigint;
  readonly ownsEverything: boolean;
}

let cached: (Identity & { readonly uidThen: number | undefined }) | undefined;

// Hosts start as root and give it up later: what was found holds for as long as the effective user stays the same.
function identity(): Identity {
  const uidNow = process.geteuid?.();
  if (cached === undefined || cached.uidThen !== uidNow) {
    const uid = BigInt(uidNow ?? -1);
    cached = {
      uidThen: uidNow,
      uid,
      ownsEverything: uid === 0n && inInitialUserNamespace() && overridesOwners(),
    };
  }
  return cached;
}

// Root of a user namespace has no power over files whose owner is not mapped into it.
function inInitialUserNamespace(): boolean {
  try {
    return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch {
    return false;
  }
}

// Containers often run root without its powers: CAP_FOWNER makes it the owner of every file (capabilities(7)).
function overridesOwners(): boolean {
  try {
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    return effective !== undefined && (BigInt(`0x${effective}`) & CAP_FOWNER) !== 0n;
  } catch {
    return false;
  }
}

const CAP_FOWNER = 1n << 3n;
