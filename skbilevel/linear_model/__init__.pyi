from skbilevel.linear_model._dp_lasso import DPLasso as DPLasso
from skbilevel.linear_model._dp_logistic import DPLogistic as DPLogistic
from skbilevel.linear_model._dp_ridge import DPRidge as DPRidge
from skbilevel.linear_model._elastic_net import (
    BilevelElasticNetCV as BilevelElasticNetCV,
)
from skbilevel.linear_model._elastic_net import BilevelLassoCV as BilevelLassoCV
from skbilevel.linear_model._export import to_sklearn as to_sklearn
from skbilevel.linear_model._gamma import BilevelGammaCV as BilevelGammaCV
from skbilevel.linear_model._logistic import BilevelLogisticCV as BilevelLogisticCV
from skbilevel.linear_model._poisson import BilevelPoissonCV as BilevelPoissonCV
from skbilevel.linear_model._ridge import BilevelRidgeCV as BilevelRidgeCV
from skbilevel.linear_model._ridge_classifier import (
    BilevelRidgeClassifierCV as BilevelRidgeClassifierCV,
)
from skbilevel.linear_model._tweedie import BilevelTweedieCV as BilevelTweedieCV
