/** RFC 9110, section 5.6.2: token. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110, section 5.5: starts and ends with a visible character and contains no control character but the tab. */
const FIELD_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/** Whether `name` is a valid name of a header field. */
export function isFieldName(name: string): boolean {
  return FIELD_NAME.test(name);
}

/** Whether `value` is a valid value of a header field. */
export function isFieldValue(value: unknown): value is string {
  return typeof value === 'string' && FIELD_VALUE.test(value);
}
