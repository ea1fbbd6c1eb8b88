from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=12, decimal_places=2)
    key = models.UUIDField()
    sold = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    span = models.DurationField(null=True)
    tags = ArrayField(models.TextField(), default=list)
    doc = models.JSONField(default=dict)
    raw = models.BinaryField(default=b"")
    address = models.GenericIPAddressField(null=True)
    active = models.BooleanField(default=True)

    class Meta:
        indexes = [GinIndex(fields=["doc"], name="product_doc")]
        constraints = [models.CheckConstraint(condition=models.Q(price__gte=0), name="price_not_negative")]
