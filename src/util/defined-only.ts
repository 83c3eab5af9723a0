/** Returns the members that are not `undefined`. */
export function definedOnly<T extends object>(values: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  // The type is that of an object without the other members.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
