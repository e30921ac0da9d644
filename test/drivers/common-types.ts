/**
 * Every common type as `[cast, text]`: the text a parameter is sent as, which is also what Postgres
 * prints for it, so that `select $1::TYPE::text` must give it back by every driver and in either
 * format.
 */
export const COMMON_TYPES: readonly (readonly [cast: string, text: string])[] = [
  ['smallint', '-32768'],
  ['integer', '2147483647'],
  ['bigint', '-9223372036854775808'],
  ['numeric(20,5)', '12345678901234.56789'],
  ['real', '1.5'],
  ['double precision', '0.1'],
  ['boolean', 'true'],
  ['text', 'ein Ä, ein 漢, ein \'"\\ und ein Tab\t'],
  ['varchar(8)', 'varchar'],
  ['bytea', '\\x00ff10'],
  ['date', '2024-02-29'],
  ['time', '23:59:59.123456'],
  ['timestamp', '2024-02-29 12:34:56.789'],
  ['interval', '1 year 2 mons 3 days 04:05:06'],
  ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ['json', '{"a": [1, null]}'],
  ['jsonb', '{"a": [1, null]}'],
  ['inet', '192.168.0.1/24'],
  ['integer[]', '{1,NULL,3}'],
  ['text[]', '{a,"b c",NULL}'],
  ['int4range', '[1,10)'],
]
