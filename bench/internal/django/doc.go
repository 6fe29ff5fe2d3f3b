// Package django fills a PostgreSQL database as a Django site has it: users, the tokens of Django REST framework, sessions of
// engine db. What is signed is signed as Django does it. It counts the queries that the database answers.
package django
