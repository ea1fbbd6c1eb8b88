import datetime as dt
import decimal
import uuid

from django.contrib.auth.models import User
from django.contrib.postgres.search import SearchVector
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase

from .models import Product

KEY = uuid.UUID("b5f6b3a0-3c1e-4d4e-9d5e-0123456789ab")
MOMENT = dt.datetime(2024, 2, 29, 12, 30, 45, 123456, tzinfo=dt.timezone.utc)


def product(name, **more):
    return Product.objects.create(name=name, price=decimal.Decimal("9.99"), key=KEY, **more)


class Products(TestCase):
    def test_database_is_the_runners_own(self):
        self.assertTrue(connection.settings_dict["NAME"].startswith("test_"))

    def test_round_trip(self):
        product(
            "one", sold=MOMENT, day=MOMENT.date(), span=dt.timedelta(days=1, seconds=2), tags=["a", "b,c"], doc={"a": [1, {"b": None}]},
            raw=b"\0\xff", address="::1",
        )
        got = Product.objects.get(name="one")
        self.assertEqual((got.sold, got.day, got.span, got.tags), (MOMENT, MOMENT.date(), dt.timedelta(days=1, seconds=2), ["a", "b,c"]))
        self.assertEqual((got.doc, bytes(got.raw), got.address, got.key), ({"a": [1, {"b": None}]}, b"\0\xff", "::1", KEY))
        self.assertEqual(Product.objects.filter(tags__contains=["a"], doc__a__0=1).count(), 1)
        self.assertEqual(Product.objects.annotate(search=SearchVector("name")).filter(search="one").count(), 1)

    def test_errors_and_savepoints(self):
        product("one")
        with self.assertRaises(IntegrityError) as refused, transaction.atomic():
            product("one")
        self.assertEqual(refused.exception.__cause__.sqlstate, "23505")
        with self.assertRaises(IntegrityError), transaction.atomic():
            Product.objects.create(name="two", price=-1, key=KEY)
        self.assertEqual(Product.objects.count(), 1)

    def test_users_bulk_and_iterator(self):
        self.assertTrue(User.objects.create_user("ann", password="secret").check_password("secret"))
        Product.objects.bulk_create([Product(name=str(i), price=i, key=KEY) for i in range(5000)], batch_size=500)
        # A server-side cursor.
        self.assertEqual(sum(int(p.name) for p in Product.objects.iterator(chunk_size=200)), 12_497_500)
        Product.objects.bulk_create([Product(name="1", price=7, key=KEY)], update_conflicts=True, unique_fields=["name"], update_fields=["price"])
        self.assertEqual(Product.objects.get(name="1").price, 7)


class Committed(TransactionTestCase):
    def test_on_commit_and_select_for_update(self):
        done = []
        with transaction.atomic():
            one = product("one")
            transaction.on_commit(lambda: done.append(one.id))
            Product.objects.select_for_update(nowait=True).get(id=one.id)
        self.assertEqual(done, [one.id])
