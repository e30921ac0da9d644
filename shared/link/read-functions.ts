// Functions of Postgres that say the same on every node with the same data: they read nothing but
// their arguments and the clock, and change nothing. Gateways send queries that call them to
// followers; poolers tell of a user's own function that has such a name.

/** By name, in small letters. */
export const READ_FUNCTIONS: ReadonlySet<string> = new Set(
  `count sum avg min max bool_and bool_or every array_agg string_agg json_agg jsonb_agg
  json_object_agg jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr
  percentile_cont percentile_disc mode grouping row_number rank dense_rank percent_rank cume_dist
  ntile lag lead first_value last_value nth_value
  coalesce nullif greatest least cast extract overlay position substring trim
  abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log power mod div gcd lcm pi degrees
  radians sin cos tan asin acos atan atan2 width_bucket
  lower upper initcap length char_length character_length octet_length bit_length substr left right
  lpad rpad ltrim rtrim btrim concat concat_ws format replace reverse repeat split_part strpos
  starts_with translate chr ascii md5 sha224 sha256 sha384 sha512 encode decode to_hex quote_ident
  quote_literal quote_nullable regexp_replace regexp_match regexp_matches regexp_split_to_array
  regexp_split_to_table string_to_array to_char to_date to_number to_timestamp
  now date_part date_trunc date_bin age make_date make_time make_timestamp make_timestamptz
  make_interval justify_days justify_hours justify_interval isfinite timezone clock_timestamp
  statement_timestamp transaction_timestamp localtimestamp current_timestamp localtime current_time
  array_append array_prepend array_cat array_length array_ndims array_position array_positions
  array_remove array_replace array_to_string array_lower array_upper cardinality unnest
  generate_series generate_subscripts
  to_json to_jsonb row_to_json array_to_json json_build_object jsonb_build_object json_build_array
  jsonb_build_array json_array_length jsonb_array_length json_array_elements jsonb_array_elements
  json_array_elements_text jsonb_array_elements_text json_each jsonb_each json_each_text
  jsonb_each_text json_object_keys jsonb_object_keys json_typeof jsonb_typeof json_extract_path
  jsonb_extract_path json_extract_path_text jsonb_extract_path_text jsonb_set jsonb_insert
  jsonb_strip_nulls json_strip_nulls jsonb_pretty jsonb_path_query jsonb_path_exists
  jsonb_path_match jsonb_path_query_array jsonb_path_query_first
  lower_inc upper_inc isempty range_merge host masklen netmask network family
  tsvector tsquery ts_rank ts_rank_cd to_tsvector to_tsquery plainto_tsquery phraseto_tsquery
  websearch_to_tsquery ts_headline numnode querytree setweight strip
  int4range int8range numrange tsrange tstzrange daterange`.split(/\s+/),
)
