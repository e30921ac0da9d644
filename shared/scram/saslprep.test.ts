import { expect, test } from 'bun:test'
import { saslprep } from './saslprep.ts'

// RFC 4013, section 3, and what PostgreSQL makes of it (tried: see test/replication).
test.each([
  ['I\u00adX', 'IX', 'a soft hyphen is left out'],
  ['user', 'user', 'ASCII stays'],
  ['USER', 'USER', 'case stays'],
  ['\u00aa', 'a', 'compatibility forms are replaced'],
  ['\u2168', 'IX', 'also where they are several characters'],
  ['a\u00a0b', 'a b', 'spaces become a space'],
  ['a\u200bb', 'a b', 'so does U+200B, which two tables have'],
  ['\u0007', '\u0007', 'ASCII control characters stay: ASCII is not prepared'],
  ['\u00e4\u0007', '\u00e4\u0007', 'a prohibited character leaves all as it is'],
  ['\u2168\u0007', '\u2168\u0007', 'all of it'],
  ['\u0627\u0031', '\u0627\u0031', 'right to left has to end so'],
  ['\u0627\u2168\u0627', '\u0627\u2168\u0627', 'and not to mix'],
  ['\u0627\u00b2\u0627', '\u06272\u0627', 'digits in between are no mixture'],
  ['\u00ad', '\u00ad', 'nothing left: as it is'],
  ['\u{1f600}\u2168', '\u{1f600}\u2168', 'a character newer than Unicode 3.2: as it is'],
  ['e\u0301', '\u00e9', 'composed'],
])('%j becomes %j: %s', (text, prepared) => {
  expect(saslprep(text)).toBe(prepared)
})
