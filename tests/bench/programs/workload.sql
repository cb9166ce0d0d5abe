-- A small database in memory: bulk inserts, indexes, joins, aggregates, updates, deletes.
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, born INTEGER);
CREATE TABLE sale(id INTEGER PRIMARY KEY, person INTEGER, item INTEGER, price INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO person SELECT i, printf('name-%06d', (i * 7919) % 20011), i * 31 % 97, 1920 + i * 13 % 90 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80000)
INSERT INTO sale SELECT i, 1 + i * 104729 % 20000, i * 37 % 1009, i * 7907 % 9973, printf('%x', i * i) FROM n;
COMMIT;
CREATE INDEX person_city ON person(city);
CREATE INDEX sale_person ON sale(person);
CREATE INDEX sale_item ON sale(item, price);
SELECT city, count(*), sum(price), max(note) FROM person JOIN sale ON sale.person = person.id
  GROUP BY city ORDER BY 3 DESC LIMIT 10;
SELECT name, (SELECT sum(price) FROM sale WHERE person = p.id) AS s FROM person p ORDER BY s DESC, name LIMIT 10;
UPDATE sale SET price = price + 1 WHERE item % 3 = 0;
DELETE FROM sale WHERE note LIKE '%ff%';
SELECT item, count(*), avg(price) FROM sale WHERE price BETWEEN 1000 AND 5000 GROUP BY item ORDER BY 2 DESC, 1 LIMIT 10;
SELECT group_concat(upper(substr(name, -3)), '') FROM (SELECT name FROM person WHERE born > 2000 ORDER BY name LIMIT 200);
